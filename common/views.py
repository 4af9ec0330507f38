"""How the digits of either domain are varied in training: the options, and the views they make."""

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
    """Options of a training between the domains; the defaults vary drawn digits towards photographed ones (MNIST-M → SVHN)."""

    augment: str = option("strong", "of source and target images alike", ("none", "mild", "strong"))
    source_zoom: tuple[float, float] = option(
        (0.8, 1.4), "drawn digits are 20 of 28 pixels high, photographed ones fill it", above=0.1, most=10)
    source_stretch: tuple[float, float] = option(
        (-0.1, 0.1), "half the logarithm of what their width over height is multiplied by", least=-1, most=1)
    target_zoom: tuple[float, float] = option((0.8, 1.2), "about the target's own size", above=0.1, most=10)
    neighbours: float = option(
        0.6, "share of source images with other digits at their sides, as photographs have them", least=0, most=1)
    thickness: float = option(0.5, "share of images with thicker or thinner strokes", least=0, most=1)
    clutter: float = option(
        0.0, "share of source images that get a texture which changes sign under the strokes", least=0, most=1)
    invert: bool = option(True, "dark may become light, in all channels or in one; without it colours are mixed only")


def towards(source: str, target: str) -> dict[str, Any]:
    """What differs from the defaults for this pair of domains."""
    if (source, target) == ("mnistm", "svhn"):
        return {}
    if (source, target) == ("svhn", "mnistm"):  # photographed digits get smaller, and lie on textures instead of plain walls
        return {"source_zoom": (0.55, 1.1), "neighbours": 0.0, "thickness": 0.0, "clutter": 0.5}
    return {"source_zoom": (0.7, 1.4), "neighbours": 0.0}  # nothing is known of the images


def plain(images: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 → float in [0, 1]."""
    return images.float() / 255


def source_view(images: Tensor, views: Augmentation, generator: torch.Generator) -> Tensor:
    """Labelled images (N, 3, 28, 28) uint8 → float in [0, 1], varied towards what the other domain looks like."""
    if views.augment == "strong":
        return augment.strong(plain(images), generator, zoom=views.source_zoom, stretch=views.source_stretch,
                              neighbour_share=views.neighbours, stroke_share=views.thickness,
                              texture_share=views.clutter, invert=views.invert)
    return augment.mild(plain(images), generator) if views.augment == "mild" else plain(images)


def target_view(images: Tensor, views: Augmentation, generator: torch.Generator) -> Tensor:
    """Unlabelled images likewise; neighbours and clutter they have already."""
    if views.augment == "strong":
        return augment.strong(plain(images), generator, zoom=views.target_zoom, stroke_share=views.thickness,
                              invert=views.invert)
    return augment.mild(plain(images), generator) if views.augment == "mild" else plain(images)


def source_views(images: Tensor, views: Augmentation, seed: int) -> list[Tensor]:
    """Batches of labelled images, varied as in training, the same at every call."""
    generator = stream(seed, "views for statistics")
    return [source_view(part, views, generator) for part in images.split(500)]


def plain_batches(images: Tensor) -> list[Tensor]:
    """Batches of images as they are, for `estimate_statistics`."""
    return [plain(part) for part in images.split(500)]
