"""The two domains of digits, and what a training between them may see."""

from __future__ import annotations

from pathlib import Path

import torch

from common.cli import InputError
from common.datasets import content_hash, read_split

DOMAINS = ("mnistm", "svhn")
TITLES = {"mnistm": "MNIST-M", "svhn": "SVHN"}


def other(domain: str) -> str:
    """The other of the two domains."""
    return DOMAINS[1 - DOMAINS.index(domain)]


def pair(source: str | None, target: str | None) -> tuple[str, str]:
    """Source and target, where one of them is enough to know the other."""
    source = source or (other(target) if target else DOMAINS[0])
    return source, target or other(source)


class Data:
    """Training images as uint8 (N, 3, 28, 28) on the training's device: of one domain with labels, the last `held_out` of them
    kept apart for the progress line, and of the other without (the labelled ones again where `unlabelled` names no domain).
    Only the labelled domain's CSV is opened."""

    def __init__(self, root: Path, labelled: str, unlabelled: str | None, held_out: int, device: torch.device) -> None:
        split = read_split(root, labelled, "train", labelled=True)
        assert split.labels is not None
        # the last images, since SVHN's order follows its photographs: neighbours from one photograph stay together
        kept = len(split.images) - min(held_out, len(split.images) // 10)
        if kept < 2:
            raise InputError(f"{root}: {labelled} has too few training images ({len(split.images)}) to train on")
        self.images, self.labels = split.images[:kept].to(device), split.labels[:kept].to(device)
        self.held_images, self.held_labels = split.images[kept:].to(device), split.labels[kept:].to(device)
        self.hashes = {labelled: content_hash(split.images), f"{labelled} labels": content_hash(split.labels)}
        self.unlabelled = self.images
        if unlabelled is not None:
            self.unlabelled = read_split(root, unlabelled, "train", labelled=False).images.to(device)
            self.hashes[unlabelled] = content_hash(self.unlabelled)
