"""Faces: reading a folder of images and their attributes, conversion to and from [-1, 1], and mirroring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.augment import chance
from common.cli import InputError
from common.datasets import content_hash, read_attributes, read_images, table_beside

SIZE = 64


@dataclass(frozen=True)
class Faces:
    """Images, uint8 (N, 3, size, size), and the K requested attributes, int64 (N, K), 0 or 1."""

    images: Tensor
    attributes: Tensor
    hashes: dict[str, str]


def read_faces(data: Path, split: str, attributes: Sequence[str] = (), size: int = SIZE) -> Faces:
    """Read a split of the course's layout, or any folder of images, with its attributes from the CSV beside
    it (FOLDER.csv). Images of another size are centre-cropped and resized. Raises InputError if the folder,
    the CSV or a column is missing."""
    folder = data / "face" / split if (data / "face").is_dir() else data
    images, names = read_images(folder, size, square=True)
    values = torch.empty(len(images), 0, dtype=torch.int64)
    if attributes:
        file = table_beside(folder)
        values = read_attributes(file, names, attributes)[0].long()
        for attribute, column in zip(attributes, values.T, strict=True):
            if not 0 < int(column.sum()) < len(column):
                raise InputError(f"{file}: {attribute} is the same for all images; choose another attribute")
    hashes = {"faces": content_hash(images)} | ({"attributes": content_hash(values)} if attributes else {})
    return Faces(images, values, hashes)


def to_faces(images: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 → float in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_images(faces: Tensor) -> Tensor:
    """Float in [-1, 1] → uint8, rounded to the nearest grey level."""
    return ((faces.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def flip(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each face with probability 0.5."""
    return torch.where(chance(faces, 0.5, generator), faces.flip(3), faces)
