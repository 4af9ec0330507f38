"""Faces: reading a folder of images and their attributes, conversion to and from [-1, 1], and augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common.augment import chance, uniform
from common.cli import InputError
from common.datasets import content_hash, read_attributes, read_images, table_beside
from common.processes import COUNT, share
from common.streams import send

SIZE = 64


@dataclass(frozen=True)
class Faces:
    """Images, uint8 (N, 3, size, size), and the K requested attributes, int64 (N, K), 0 or 1."""

    images: Tensor
    attributes: Tensor
    hashes: dict[str, str]


def read_faces(data: Path, split: str, attributes: Sequence[str] = (), size: int = SIZE) -> Faces:
    """Read a split of the course's layout, or any folder of images, with its attributes from the CSV beside it
    (FOLDER.csv). Images of another size are centre-cropped and resized. Raises InputError if the folder, the CSV or a
    column is missing."""
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


def diffaugment(faces: Tensor, generator: torch.Generator) -> Tensor:
    """DiffAugment (Zhao et al. 2020): differentiable augmentation of the discriminator's input, real and generated, so
    that it cannot memorise the training set. Brightness, saturation and contrast; translation by up to 1/8; cutout of
    1/2 the width."""
    height, width = faces.shape[2:]
    n = len(faces) * COUNT  # size of the whole batch over all processes

    def draw(low: float, high: float) -> Tensor:
        return share(uniform(n, low, high, faces, generator)).view(-1, 1, 1, 1)

    faces = faces + draw(-0.5, 0.5)
    grey = faces.mean(1, keepdim=True)
    faces = grey + (faces - grey) * draw(0, 2)
    mean = faces.mean((1, 2, 3), keepdim=True)
    faces = mean + (faces - mean) * draw(0.5, 1.5)

    most = height // 8
    padded = F.pad(faces, (most, most, most, most))
    moves = send(share(torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator), 1), faces.device)
    rows, columns = (move + torch.arange(side, device=faces.device) for move, side in zip(moves, (height, width), strict=True))
    faces = padded.gather(2, rows[:, None, :, None].expand(-1, 3, height, 2 * most + width))
    faces = faces.gather(3, columns[:, None, None, :].expand(-1, 3, height, width))

    top, left = draw(-0.25, 0.75) * height, draw(-0.25, 0.75) * width
    row = torch.arange(height, device=faces.device).view(1, 1, -1, 1)
    column = torch.arange(width, device=faces.device).view(1, 1, 1, -1)
    inside = (row >= top) & (row < top + height // 2) & (column >= left) & (column < left + width // 2)
    return faces.masked_fill(inside, 0.0)
