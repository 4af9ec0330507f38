"""Predict classes, and report accuracy, accuracy per class, confusion matrix and prediction files."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.datasets import DIGITS
from common.device import autocast, has_bf16
from common.files import write
from common.tables import to_csv

MARGIN = 0.1  # relative to the largest logit


def predict_classes(network: nn.Module, images: Tensor) -> Tensor:
    """Images uint8 (N, 3, H, W) on the device of the network → classes int64 (N,). CPUs with bfloat16 use it
    first, and predict in float32 only the images whose class the rounding could change. The network must be
    in evaluation mode, or predictions would depend on the batch."""
    assert not network.training, "predictions need a network in evaluation mode"
    network = without_batch_norm(network)
    if images.device.type != "cpu" or not has_bf16(images.device):
        return logits_of(network, images, "fp32").argmax(1)
    logits = logits_of(network, images, "bf16")
    classes, (first, second) = logits.argmax(1), logits.topk(2, 1).values.unbind(1)
    # in the released networks, rounding changes differences between logits by at most half of this margin
    close = first - second < MARGIN * logits.abs().amax(1)
    if close.any():
        classes[close] = logits_of(network, images[close], "fp32").argmax(1)
    return classes


def logits_of(network: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Images uint8 (N, 3, H, W) → logits (N, K), computed in parts."""
    # the activations of 100 images fit into the CPU's cache
    batch = 100 if images.device.type == "cpu" else 1000
    with torch.inference_mode(), autocast(images.device, precision):
        return torch.cat([network(part.float() / 255).float() for part in images.split(batch)])


def without_batch_norm(network: nn.Module) -> nn.Module:
    """A copy with each BatchNorm after a convolution folded into its weights: the same function, faster."""
    network = copy.deepcopy(network)
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, (layer, following) in enumerate(itertools.pairwise(list(layers))):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                layers[place], layers[place + 1] = fuse_conv_bn_eval(layer, following), nn.Identity()
    return network


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Accuracy (%) of the network, in evaluation mode, on images uint8 (N, 3, H, W)."""
    return 100 * (predict_classes(network, images) == labels).float().mean().item()


def confusion_matrix(predictions: Tensor, labels: Tensor, classes: int = 10) -> Tensor:
    """(classes, classes) int64 counts; row = true class, column = predicted class."""
    assert predictions.shape == labels.shape, f"{len(predictions)} predictions for {len(labels)} labels"
    return torch.bincount(labels * classes + predictions, minlength=classes * classes).view(classes, classes)


def report(predictions: Tensor, labels: Tensor, classes: int = 10) -> dict[str, Any]:
    """Accuracy and accuracy per class in percent (None for a class without images), count and confusion
    matrix, as plain numbers."""
    matrix = confusion_matrix(predictions, labels, classes)
    right, count = matrix.diag(), matrix.sum(1)
    per_class = [100 * int(r) / int(n) if n else None for r, n in zip(right, count, strict=True)]
    return {"accuracy": 100 * int(right.sum()) / max(1, len(labels)), "count": len(labels),
            "per_class": per_class, "confusion": matrix.tolist()}


def table(figures: dict[str, Any], classes: Sequence[str] = DIGITS) -> str:
    """The report as text, with a row for each true class."""
    longest = max(4, *map(len, classes))
    width = max(7, longest + 4)
    lines = [f"accuracy {figures['accuracy']:.2f} % of {figures['count']} images",
             f"{'true':<{longest}}  accuracy  " + "".join(f"{f'as {name}':>{width}}" for name in classes)]
    for name, share, row in zip(classes, figures["per_class"], figures["confusion"], strict=True):
        lines.append(f"{name:>{longest}}  {'     -   ' if share is None else f'{share:7.2f} %'} "
                     + "".join(f"{n:{width}d}" for n in row))
    return "\n".join(lines)


def write_predictions(path: Path, names: list[str], predictions: Tensor,
                      classes: Sequence[str] = DIGITS) -> None:
    """Write `image_name,label` with a row for each image, sorted by name, atomically."""
    rows = sorted(zip(names, [classes[place] for place in predictions.tolist()], strict=True))
    write(path, to_csv([("image_name", "label"), *rows]))
