"""The losses of ADDA, numbered as in Tzeng et al., CVPR 2017, "Adversarial Discriminative Domain Adaptation", and those of the
self-training that follows it. Logits go in; each loss is a scalar. (Equation 1, the source's classification, is `class_loss` of
common.losses.)"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCE, TARGET = 0, 1  # the discriminator's labels


def _named(domain_logits: Tensor, domain: int) -> Tensor:
    """Cross-entropy of domain logits (N, 2) with one domain's label."""
    return F.cross_entropy(domain_logits.float(), torch.full((len(domain_logits),), domain, device=domain_logits.device))


def discriminator_loss(source: Tensor, target: Tensor) -> Tensor:
    """L_adv_D (equation 9, first line) of domain logits (N, 2) and (M, 2), each domain weighing half; ln 2 = 0.693 at chance."""
    return 0.5 * (_named(source, SOURCE) + _named(target, TARGET))


def encoder_loss(target: Tensor) -> Tensor:
    """L_adv_M (equation 9, second line): the target encoder's loss, with inverted labels. Its images are to be taken for the
    source's."""
    return _named(target, SOURCE)


def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Share of images whose domain the discriminator names, each domain weighing half; 0.5 is chance."""
    return 0.5 * ((source.argmax(1) == SOURCE).float().mean() + (target.argmax(1) == TARGET).float().mean())


def confidence(logits: Tensor) -> Tensor:
    """(N,) largest class probability of each row of logits (N, 10)."""
    return logits.detach().float().softmax(1).amax(1)


def confident(teacher: Tensor, source: Tensor, threshold: float) -> Tensor:
    """(N,) bool: which target images the teacher, with logits (N, 10), is sure of. The threshold counts in the mean confidence on
    labelled source images with logits (M, 10), so that it rises with the training (Berthelot et al. 2022, section 3.3)."""
    return confidence(teacher) > threshold * confidence(source).mean()


def self_training_loss(student: Tensor, teacher: Tensor, sure: Tensor) -> Tensor:
    """Cross-entropy of the student's logits (N, 10) on strong views with the teacher's classes, over the sure images; divided by
    the number of all, so that few sure images weigh little (Sohn et al. 2020, equation 4)."""
    return (F.cross_entropy(student.float(), teacher.detach().argmax(1), reduction="none") * sure).mean()


def monitors(logits: Tensor, threshold: float) -> dict[str, float]:
    """What can be said of predictions (N, 10) without labels: the share above that confidence, the entropy of the predicted
    classes' distribution (nats; ln 10 = 2.303 where all are predicted equally often), and the nuclear norm of the prediction
    matrix over √(10 N), 1 where predictions are both sure and diverse (Cui et al. 2020)."""
    probabilities = logits.float().softmax(1)
    mean = probabilities.mean(0)
    norm = torch.linalg.matrix_norm(probabilities, "nuc") / math.sqrt(probabilities.numel())
    return {"confident": (probabilities.amax(1) > threshold).float().mean().item(),
            "class entropy": -(mean * mean.clamp(min=1e-12).log()).sum().item(), "nuclear norm": norm.item()}


def locked_in(seen: dict[str, float], progress: float) -> str | None:
    """What is wrong with a self-training that has come that far, from 0 to 1; None where nothing is."""
    classes = math.exp(seen["class entropy"])
    if classes < 7:
        return f"the predictions fall on {classes:.1f} of 10 classes; the others may be lost (a larger --balance keeps them)"
    if progress >= 0.5 and seen["confident"] < 0.5:
        return f"only {100 * seen['confident']:.0f} % of the target is confident half-way; it will not come much further"
    return None
