"""The class loss of ACGAN (Odena et al., ICML 2017). The source loss L_S (equation 2) is the game of common.adversary."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, c: Tensor) -> Tensor:
    """-L_C (equation 3): cross-entropy of class logits (N,) with the classes (N,) of 0 and 1 that the faces have or were asked to
    have; of logits (N, K), that of K attributes added up. Discriminator and generator both lower it: D maximises L_S + L_C, G
    maximises L_C - L_S."""
    return F.binary_cross_entropy_with_logits(logits.float(), c.float(), reduction="sum") / len(logits)


def pair_loss(made: Tensor) -> Tensor:
    """Mean absolute difference within the pairs of a batch, whose i-th and (N/2 + i)-th face are of one noise vector, in pixels
    (N, 3, 64, 64) or in logits (N, K): what the class does not need is to stay. (Not in the paper.) The absolute and not the
    squared difference, since it asks for few pixels that change."""
    one, other = made.float().chunk(2)
    return (one - other).abs().mean()


def class_accuracy(logits: Tensor, c: Tensor) -> float:
    """Share of faces whose class the logits (N,) name."""
    return ((logits > 0).long() == c).float().mean().item()
