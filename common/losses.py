"""Losses that more than one method uses. Logits go in; each function returns a scalar."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, 10) with labels (N,)."""
    return F.cross_entropy(logits.float(), labels)


def imbalance(logits: Tensor) -> Tensor:
    """-mean_k log p̄_k, where p̄ is the batch's mean prediction: grows without bound when a class is no longer predicted, which is
    where sharpening the predictions alone can end. Its weight stays small, since the target's classes need not be equally
    frequent."""
    return -logits.float().softmax(1).mean(0).clamp(min=1e-6).log().mean()
