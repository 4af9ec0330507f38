"""Losses shared by several methods. Each function takes logits and returns a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCE, TARGET = 0, 1  # domain labels


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, K) with labels (N,)."""
    return F.cross_entropy(logits.float(), labels)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy (nats) of distributions (..., K), over the last dimension."""
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum(-1)


def imbalance(logits: Tensor) -> Tensor:
    """-mean_k log p̄_k, where p̄ is the mean prediction of the batch. It prevents collapse, to which entropy
    minimisation alone can lead: the loss grows as the probability of a class vanishes (down to 1e-6). Its
    weight should be small, since the classes of the target need not be balanced."""
    return -logits.float().softmax(1).mean(0).clamp(min=1e-6).log().mean()


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of domain logits (N, 2) of source and (M, 2) of target images. Both domains have weight
    0.5. The loss is ln 2 = 0.693 if the domains cannot be distinguished."""
    return 0.5 * (
        F.cross_entropy(source.float(), source.new_full((len(source),), SOURCE, dtype=torch.long))
        + F.cross_entropy(target.float(), target.new_full((len(target),), TARGET, dtype=torch.long)))


def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Balanced accuracy of domain logits (N, 2) of source and (M, 2) of target images; 0.5 is chance."""
    return 0.5 * ((source.argmax(1) == SOURCE).float().mean() + (target.argmax(1) == TARGET).float().mean())
