"""t-SNE of two domains' features: one embedding, drawn twice, by class and by domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.cli import InputError


def balanced_sample(labels: Tensor, count: int, seed: int) -> Tensor:
    """(≤ count,) indices with every class equally often, as far as it has members: a picture of classes, not of their
    frequencies."""
    generator = torch.Generator().manual_seed(seed)
    classes = labels.unique().tolist()
    chosen = []
    for label in classes:
        members = torch.nonzero(labels == label)[:, 0]
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count // len(classes)]])
    return torch.cat(chosen).sort().values


def embed(features: Tensor, seed: int) -> np.ndarray:
    """(N, D) features of both domains together → (N, 2). PCA initialisation keeps the layout stable (Kobak & Berens 2019)."""
    from sklearn.manifold import TSNE

    if len(features) < 10:
        raise InputError(f"t-SNE needs at least 10 images, not {len(features)}; give more --count or more data")
    method = TSNE(perplexity=min(30, (len(features) - 1) / 3), init="pca", random_state=seed)
    return method.fit_transform(features.numpy())


def draw(path: Path, points: np.ndarray, labels: np.ndarray, is_target: np.ndarray, names: tuple[str, str],
         title: str) -> None:
    """One PNG with two panels of the same points: coloured by digit, and by domain."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (by_digit, by_domain) = pyplot.subplots(1, 2, figsize=(13, 6.4), layout="constrained")
    # random order, so that the domain drawn last does not cover the other
    order = np.random.default_rng(0).permutation(len(points))
    style: dict[str, Any] = {"s": 7, "alpha": 0.75, "linewidths": 0}
    dots = by_digit.scatter(*points[order].T, c=labels[order], cmap="tab10", vmin=-0.5, vmax=9.5, **style)
    figure.colorbar(dots, ax=by_digit, ticks=range(10), label="digit")
    colours = np.array(["tab:blue", "tab:orange"])
    by_domain.scatter(*points[order].T, c=colours[is_target[order].astype(int)], **style)
    for name, colour in zip(names, colours, strict=True):
        by_domain.scatter([], [], color=colour, label=name)
    by_domain.legend(loc="upper right", markerscale=2)
    for axes, what in ((by_digit, "by digit"), (by_domain, "by domain")):
        axes.set(title=what, xticks=[], yticks=[])
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=110)
    except OSError as problem:
        raise InputError(f"{path} cannot be written ({problem.strerror}); name another file") from None
    finally:
        pyplot.close(figure)
