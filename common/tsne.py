"""t-SNE of two domains' features: a balanced sample, a joint embedding, plots coloured by class or domain."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.cli import InputError
from common.figures import chart

# Okabe and Ito's eight colours, which are safe for colour-blind readers, and two more; blue and orange first
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999",
           "#7F3B08", "#B8A800")


def balanced_sample(labels: Tensor, count: int, seed: int) -> Tensor:
    """(≤ count,) indices of a sample: count // K images of each of K classes, or all of a smaller class."""
    generator = torch.Generator().manual_seed(seed)
    classes = labels.unique().tolist()
    chosen = []
    for label in classes:
        members = torch.nonzero(labels == label)[:, 0]
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count // len(classes)]])
    return torch.cat(chosen).sort().values


def embed(features: Tensor, seed: int) -> np.ndarray:
    """Features of both domains (N, D) → joint embedding (N, 2). PCA initialisation preserves the global
    structure (Kobak & Berens 2019)."""
    from sklearn.manifold import TSNE

    if len(features) < 10:
        raise InputError(f"t-SNE needs at least 10 images, not {len(features)}; use a larger --count or more "
                         "data")
    method = TSNE(perplexity=min(30, (len(features) - 1) / 3), init="pca", random_state=seed)
    return method.fit_transform(features.numpy())


def draw(path: Path, points: np.ndarray, groups: np.ndarray, names: Sequence[str], glyphs: bool,
         title: str) -> None:
    """Write a scatter plot as PNG, one printed column wide. Points are coloured by group (N,) and, with
    `glyphs`, drawn as the number of the group."""
    # random order, so that the last group does not cover the others; in parts, since a call has one marker
    order = np.random.default_rng(0).permutation(len(points))
    with chart(path, (3.6, 2.9)) as (figure, axes):
        for part in np.array_split(order, 20):
            for group in range(len(names)):
                chosen = points[part[groups[part] == group]]
                style: dict[str, Any] = ({"s": 11, "marker": f"${group}$"} if glyphs
                                         else {"s": 5, "alpha": 0.7})
                axes.scatter(*chosen.T, color=COLOURS[group % len(COLOURS)], linewidths=0, **style)
        handles = [axes.scatter([], [], s=18, color=colour, linewidths=0)
                   for _, colour in zip(names, itertools.cycle(COLOURS))]
        figure.legend(handles, names, loc="outside right center", frameon=False)
        axes.set(xticks=[], yticks=[], title=title)
