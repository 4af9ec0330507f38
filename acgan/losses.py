"""The class loss of ACGAN (Odena et al., ICML 2017). The source loss L_S (equation 2) is the game of common.adversary."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, c: Tensor) -> Tensor:
    """-L_C (equation 3): cross-entropy of class logits (N,) with the classes (N,) of 0 and 1 that the faces have or were asked to
    have. Discriminator and generator both lower it: D maximises L_S + L_C, G maximises L_C - L_S."""
    return F.binary_cross_entropy_with_logits(logits.float(), c.float())


def pair_loss(faces: Tensor) -> Tensor:
    """Mean absolute difference between the two faces of a noise vector, the i-th and the (N/2 + i)-th of (N, 3, 64, 64): what the
    class does not need is to stay. (Not in the paper.) The absolute, not the squared, since it asks for few pixels that change."""
    one, other = faces.float().chunk(2)
    return (one - other).abs().mean()


def class_accuracy(logits: Tensor, c: Tensor) -> float:
    """Share of faces whose class the logits (N,) name."""
    return ((logits > 0).long() == c).float().mean().item()
