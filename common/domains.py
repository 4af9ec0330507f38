"""Domains, by name or as any folder of labelled images, and the data that a training between two may see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from common.cli import InputError
from common.datasets import (
    DIGITS,
    ImageSet,
    content_hash,
    read_classes,
    read_images,
    read_labels,
    table_beside,
)
from common.files import read_object

DOMAINS = ("mnistm", "svhn")
TITLES = {"mnistm": "MNIST-M", "svhn": "SVHN"}


def title(domain: str) -> str:
    """The name of a domain in print."""
    return TITLES.get(domain) or name(domain)


def name(domain: str) -> str:
    """The name of a domain in file names."""
    return Path(domain).resolve().name


def absolute(domain: str) -> str:
    """A folder as an absolute path, so that a run can be resumed and measured from any working directory."""
    return domain if domain in DOMAINS else os.path.abspath(domain)


def other(domain: str) -> str:
    """The other of the two domains."""
    return DOMAINS[1 - DOMAINS.index(domain)]


def pair(source: str | None, target: str | None) -> tuple[str, str]:
    """Source and target, if one of them determines the other. InputError if it does not."""
    if target is None and source is not None and source not in DOMAINS:
        raise InputError(f"--source {source} needs a --target to adapt to")
    source = source or (other(target) if target in DOMAINS else DOMAINS[0])
    return source, target or other(source)


def place(root: Path, domain: str, split: str) -> tuple[Path, Path]:
    """The image folder and the table of a split. For mnistm and svhn these are ROOT/digits/DOMAIN/SPLIT and
    SPLIT.csv beside it. Any other folder has DIR/SPLIT and DIR/SPLIT.csv; or it is not divided, and its table
    is DIR.csv or the only .csv file in it. InputError if there is no such folder."""
    if domain in DOMAINS:
        folder = root / "digits" / domain / split
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist; "
                             f"make it with: python -m scripts.prepare_data --from ORIGINALS --to {root}")
        return folder, table_beside(folder)
    whole = Path(domain)
    if not whole.is_dir():
        raise InputError(f"{domain} is neither {' nor '.join(DOMAINS)} nor a folder of images")
    if (whole / split).is_dir():
        return whole / split, whole / f"{split}.csv"
    if (whole / "train").is_dir() or (whole / "test").is_dir():
        raise InputError(f"{whole / split} does not exist; put the {split} images there, "
                         f"and their labels in {split}.csv beside it")
    inside = sorted(whole.glob("*.csv"))
    return whole, inside[0] if len(inside) == 1 and not table_beside(whole).exists() else table_beside(whole)


def read_split(root: Path, domain: str, split: str, labelled: bool,
               classes: Sequence[str] | None = None) -> ImageSet:
    """Read one split of a domain, with images of 28x28 pixels. Labels are indices into `classes`. By default
    these are the ten digits for mnistm and svhn, and the distinct labels in the table for any other folder.
    Without `labelled` the table is not opened. InputError if something is missing."""
    folder, table = place(root, domain, split)
    # scripts.prepare_data notes how it blended the digits; data from elsewhere have no note and are accepted
    note = folder.parent / f".{split}.json"
    if domain == "mnistm" and note.exists() and read_object(note).get("blend") != "binarised":
        raise InputError(f"{folder} was made by an earlier version, which blended the digits' grey levels; "
                         f"the published MNIST-M binarises them first. Remove {folder.parent} "
                         "and run scripts.prepare_data again")
    images, names = read_images(folder)
    if not labelled:
        return ImageSet(images, names)
    found = tuple(classes) if classes else DIGITS if domain in DOMAINS else read_classes(table, names)
    return ImageSet(images, names, read_labels(table, names, found), found)


class Data:
    """Training images as uint8 (N, 3, 28, 28) on the device: labelled images of one domain, with the last
    `held_out` of them kept apart for the progress line, and unlabelled images of the other (the labelled ones
    again if `unlabelled` is None). Only the labelled domain's table is opened; `classes` come from it."""

    def __init__(self, root: Path, labelled: str, unlabelled: str | None, held_out: int,
                 device: torch.device) -> None:
        split = read_split(root, labelled, "train", labelled=True)
        assert split.labels is not None
        # hold out the last images: SVHN is ordered by photograph, so digits of one photograph stay together
        kept = len(split.images) - min(held_out, len(split.images) // 10)
        if kept < 2:
            raise InputError(f"{root}: {labelled} has too few training images ({len(split.images)}) "
                             "to train on")
        self.classes = split.classes
        self.images, self.labels = split.images[:kept].to(device), split.labels[:kept].to(device)
        self.held_images, self.held_labels = split.images[kept:].to(device), split.labels[kept:].to(device)
        self.hashes = {labelled: content_hash(split.images), f"{labelled} labels": content_hash(split.labels)}
        self.unlabelled = self.images
        if unlabelled is not None:
            self.unlabelled = read_split(root, unlabelled, "train", labelled=False).images.to(device)
            self.hashes[unlabelled] = content_hash(self.unlabelled)
