"""The class loss of ACGAN (Odena et al., ICML 2017). Source loss L_S (equation 2): see common.adversary."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, c: Tensor) -> Tensor:
    """-L_C (equation 3): binary cross-entropy of class logits (N,) with the true or requested classes (N,),
    0 or 1. For logits (N, K), the sum over K attributes. Both networks minimise it: D maximises L_S + L_C,
    G maximises L_C - L_S."""
    return F.binary_cross_entropy_with_logits(logits.float(), c.float(), reduction="sum") / len(logits)


def pair_loss(made: Tensor) -> Tensor:
    """Mean absolute difference within the pairs of a batch, in pixels (N, 3, H, W) or in logits (N, K). The
    i-th and the (N/2 + i)-th face come from the same noise vector. The loss discourages changes that the
    class does not require (not in the paper). It is absolute, not squared, to favour sparse changes."""
    one, other = made.float().chunk(2)
    return (one - other).abs().mean()


def class_accuracy(logits: Tensor, c: Tensor) -> float:
    """Fraction of faces that the logits (N,) classify correctly."""
    return ((logits > 0).long() == c).float().mean().item()
