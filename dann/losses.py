"""The losses of domain-adversarial training, named and numbered as in Ganin et al., JMLR 2016 (17),
"Domain-Adversarial Training of Neural Networks". Logits go in; each returns a scalar. L_y is `class_loss` of
common.losses and L_d `domain_loss`: half of the sum in equation 18, so that λ of 1 there is 2 here."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

import common.losses


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """The gradient reversal layer R (equations 16 and 17): identity forward, gradient times -strength
    backward. The domain classifier behind it descends its own loss at full strength, the feature extractor
    before it ascends."""
    return _Reversal.apply(features, strength)


def reversal_schedule(progress: float) -> float:
    """λ_p = 2 / (1 + exp(-10 p)) - 1 (section 5.2.2), where p = step / total steps goes from 0 to 1."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def entropy(logits: Tensor, views: int = 1) -> Tensor:
    """Mean entropy (nats) of the predictions, each of them the mean over an image's views, whose logits
    (views · N, K) follow each other view by view. It is low where no decision boundary runs through the
    images (Shu et al. 2018, equation 5; Grandvalet & Bengio 2004), and where none runs between two views of
    an image either: the entropy of a mean is the mean entropy and how far the views are apart (their
    Jensen-Shannon divergence). No label is involved."""
    mean = logits.float().softmax(1).unflatten(0, (views, -1)).mean(0)
    return common.losses.entropy(mean).mean()
