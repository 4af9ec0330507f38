"""Losses that more than one method uses. Logits go in; each function returns a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCE, TARGET = 0, 1  # the domains' labels


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, K) with labels (N,)."""
    return F.cross_entropy(logits.float(), labels)


def imbalance(logits: Tensor) -> Tensor:
    """-mean_k log p̄_k, where p̄ is the batch's mean prediction: grows without bound when a class is no longer predicted, which is
    where sharpening the predictions alone can end. Its weight stays small, since the target's classes need not be equally
    frequent."""
    return -logits.float().softmax(1).mean(0).clamp(min=1e-6).log().mean()


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of domain logits (N, 2) and (M, 2) with "source" and "target", each domain weighing half. It is
    ln 2 = 0.693 where the features do not tell the domains apart."""
    return 0.5 * (F.cross_entropy(source.float(), source.new_full((len(source),), SOURCE, dtype=torch.long))
                  + F.cross_entropy(target.float(), target.new_full((len(target),), TARGET, dtype=torch.long)))


def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Share of images whose domain the logits (N, 2) and (M, 2) name, each domain weighing half; 0.5 is chance."""
    return 0.5 * ((source.argmax(1) == SOURCE).float().mean() + (target.argmax(1) == TARGET).float().mean())
