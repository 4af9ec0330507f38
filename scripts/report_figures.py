"""Figures of the report: confusion matrices and misclassified digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.figures import chart


def confusion(path: Path, matrix: Tensor, title: str) -> None:
    """Draw a confusion matrix, given as counts (10, 10) with the true digits as rows, in percent of each row.
    Values below 0.5 % are not printed."""
    with chart(path, (3.6, 3.3)) as (_, axes):
        share = 100 * matrix / matrix.sum(1, keepdim=True).clamp(min=1)
        axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=100)
        for row in range(10):
            for column in range(10):
                if share[row, column] >= 0.5:
                    colour = "white" if share[row, column] > 50 else "black"
                    axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center",
                              fontsize=6, color=colour)
        axes.set(xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true digit",
                 title=f"{title}, % of each row")


def misread(path: Path, images: Tensor, labels: Tensor, predictions: Tensor, title: str,
            per_digit: int = 10) -> None:
    """Draw the first `per_digit` misclassified images, (N, 3, 28, 28) uint8, of each digit, with the
    predictions below."""
    with chart(path, (3.6, 5.0)) as (_, axes):
        canvas = np.full((10 * 40, per_digit * 30, 3), 255, np.uint8)
        for digit in range(10):
            wrong = torch.nonzero((labels == digit) & (predictions != digit))[:per_digit, 0].tolist()
            for place, index in enumerate(wrong):
                top, left = 40 * digit, 30 * place
                canvas[top:top + 28, left:left + 28] = images[index].permute(1, 2, 0)
                axes.text(left + 14, top + 33, str(int(predictions[index])), ha="center", va="center",
                          fontsize=6)
        axes.imshow(canvas, interpolation="nearest")
        axes.set(xticks=[], yticks=[40 * digit + 14 for digit in range(10)], yticklabels=range(10),
                 title=f"{title}\nmisclassified images, with predictions")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
