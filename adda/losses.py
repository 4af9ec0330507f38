"""The losses of ADDA, numbered as in Tzeng et al., CVPR 2017, "Adversarial Discriminative Domain Adaptation",
and those of the self-training that follows it. Logits go in; each loss is a scalar. In common.losses are
equation 1, the source's classification, as `class_loss`, and the first line of equation 9, the
discriminator's loss, as `domain_loss`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from common.losses import SOURCE


def encoder_loss(target: Tensor) -> Tensor:
    """L_adv_M (equation 9, second line): the loss of the target encoder, with inverted labels. D should take
    its features for the source's."""
    return F.cross_entropy(target.float(), target.new_full((len(target),), SOURCE, dtype=torch.long))


def mean_prediction(logits: list[Tensor]) -> Tensor:
    """The mean class probabilities of several networks, as logits (N, K), from the logits (N, K) of each."""
    return torch.stack([each.float().softmax(1) for each in logits]).mean(0).log()


def agreement(logits: list[Tensor]) -> Tensor:
    """Share of images for which all networks predict the same class."""
    classes = torch.stack([each.argmax(1) for each in logits])
    return (classes == classes[0]).all(0).float().mean()


def confidence(logits: Tensor) -> Tensor:
    """The largest class probability (N,) of logits (N, K)."""
    return logits.detach().float().softmax(1).amax(1)


def confidence_mask(teacher: Tensor, source: Tensor, threshold: float) -> Tensor:
    """Which target images the teacher is confident about: logits (N, K) → (N,) bool. The threshold is
    relative to the mean confidence on labelled source images, with logits (M, K), so it rises during training
    (Berthelot et al. 2022, section 3.3)."""
    return confidence(teacher) > threshold * confidence(source).mean()


def self_training_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the student's logits (N, K) on strong views with the teacher's predicted classes, over
    the images in the mask. The sum is divided by N, so that few confident images weigh little (Sohn et al.
    2020, equation 4)."""
    return (F.cross_entropy(student.float(), teacher.detach().argmax(1), reduction="none") * mask).mean()


def collapse_warning(criteria: dict[str, float], progress: float, classes: int = 10) -> str | None:
    """A warning if self-training is collapsing, given the label-free criteria and its progress from 0 to 1;
    None if it is not."""
    named = math.exp(criteria["class entropy"])
    if named < 0.7 * classes:
        return (f"the predictions fall on {named:.1f} of {classes} classes; the others may be lost "
                "(a larger --balance keeps them)")
    if progress >= 0.5 and criteria["confident"] < 0.5:
        return (f"only {100 * criteria['confident']:.0f} % of the target is confident half-way; "
                "it will not come much further")
    return None
