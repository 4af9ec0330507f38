"""How digits of either domain are augmented in training: the options and the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common import augment
from common.options import option
from common.streams import stream


@dataclass(frozen=True)
class Augmentation:
    """Augmentation options of a training between domains. The defaults move drawn digits towards photographed
    ones (MNIST-M → SVHN)."""

    augment: str = option("strong", "augmentation of source and target images", ("none", "mild", "strong"))
    source_zoom: tuple[float, float] = option(
        (0.8, 1.4), "range of zoom of source images; drawn digits are 20 of 28 pixels high, "
                    "photographed ones fill the image", above=0.1, most=10)
    source_stretch: tuple[float, float] = option(
        (-0.1, 0.1), "range of the change in aspect ratio of source images: width over height is multiplied "
                     "by exp(2 x)", least=-1, most=1)
    target_zoom: tuple[float, float] = option(
        (0.8, 1.2), "range of zoom of target images", above=0.1, most=10)
    neighbours: float = option(
        0.6, "share of source images that get other digits at their sides, as in photographs",
        least=0, most=1)
    thickness: float = option(0.5, "share of images that get thicker or thinner strokes", least=0, most=1)
    clutter: float = option(
        0.0, "share of source images that get a textured background, inverted under the strokes",
        least=0, most=1)
    invert: bool = option(
        True, "also invert colours, in all channels or in one; without it, channels are only mixed")


def towards(source: str, target: str) -> dict[str, Any]:
    """The options that differ from the defaults for this pair of domains."""
    if (source, target) == ("mnistm", "svhn"):
        return {}
    if (source, target) == ("svhn", "mnistm"):
        # photographed digits get smaller, and textures in place of plain walls
        return {"source_zoom": (0.55, 1.1), "neighbours": 0.0, "thickness": 0.0, "clutter": 0.5}
    return {"source_zoom": (0.7, 1.4), "neighbours": 0.0}  # nothing is known about the images


def plain(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) → float in [0, 1]."""
    return images.float() / 255


def source_view(images: Tensor, views: Augmentation, generator: torch.Generator) -> Tensor:
    """Labelled images, uint8 (N, 3, 28, 28) → float in [0, 1], augmented to resemble the other domain."""
    if views.augment == "strong":
        return augment.strong(plain(images), generator, zoom=views.source_zoom, stretch=views.source_stretch,
                              neighbour_share=views.neighbours, stroke_share=views.thickness,
                              texture_share=views.clutter, invert=views.invert)
    return augment.mild(plain(images), generator) if views.augment == "mild" else plain(images)


def target_view(images: Tensor, views: Augmentation, generator: torch.Generator) -> Tensor:
    """Unlabelled images, uint8 (N, 3, 28, 28) → float in [0, 1], augmented. They get no neighbours and no
    clutter, since they have their own."""
    if views.augment == "strong":
        return augment.strong(plain(images), generator, zoom=views.target_zoom, stroke_share=views.thickness,
                              invert=views.invert)
    return augment.mild(plain(images), generator) if views.augment == "mild" else plain(images)


def source_views(images: Tensor, views: Augmentation, seed: int) -> list[Tensor]:
    """Batches of labelled images, augmented as in training; the same batches at every call."""
    generator = stream(seed, "views for statistics")
    return [source_view(part, views, generator) for part in images.split(500)]


def plain_batches(images: Tensor) -> list[Tensor]:
    """Batches of plain images, for `estimate_statistics`."""
    return [plain(part) for part in images.split(500)]
