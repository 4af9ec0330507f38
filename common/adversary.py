"""Adversarial training, shared by DCGAN and ACGAN: its options, its losses as functions of discriminator
logits (N,), `d_real` of real and `d_fake` of generated images, and the gradient penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.cli import InputError
from common.options import option, seed_option
from common.schedules import falling

PENALTY_EVERY = 8  # steps


@dataclass(frozen=True)
class GanOptions:
    """Options of adversarial training on faces."""

    network: str = option("report", "`report`: the networks of the report; `default`: a discriminator "
                          "without BatchNorm, as the gradient penalty requires", ("report", "default"))
    size: int = option(64, "height and width of the faces: 32, 64 or 128", choices=(32, 64, 128))
    gamma: float = option(0.0, "weight of the gradient penalty on real faces (R1), applied every "
                          f"{PENALTY_EVERY} steps; 0: none", least=0, most=1000)
    width: int = option(64, "channels of the generator's last stage; 64 gives 3.6 M parameters; 32 suits "
                        "small machines", least=1, most=512)
    d_width: int = option(0, "channels of the discriminator's first stage; 0: same as --width",
                          least=0, most=512)
    from_: str = option("", "weights file with which to initialise the generator; the discriminator starts "
                        "untrained")
    epochs: int = option(20, "passes over the faces; the last weights are the result", least=1, most=10**6)
    batch: int = option(64, "faces per step, at least 2 for BatchNorm", least=2, most=10**6)
    lr: float = option(2e-4, "learning rate of Adam, for both networks", above=0, most=10)
    betas: tuple[float, float] = option((0.5, 0.999), "betas of Adam; less momentum than usual, since the "
                                        "other network changes the loss", least=0, below=1)
    anneal: bool = option(False, "anneal the learning rate to a quarter and gamma to a tenth, "
                          "along half a cosine")
    deviation: float = option(0.02, "standard deviation of the initial convolution weights", above=0, most=10)
    flip: bool = option(True, "mirror each face with probability 0.5")
    ema: float = option(0.999, "decay of the generator's EMA, whose weights are released; 0: no averaging",
                        least=0, below=1)
    seed: int = seed_option()


# the recipe of the original report: the same losses, without augmentation or averaging (report, sections
# 3 and 4)
REPORT: dict[str, Any] = {"lr": 1e-4, "batch": 128, "flip": False, "ema": 0.0}


def may_grow(options: GanOptions) -> bool:
    """Whether a run can be extended to more epochs: only if no schedule depends on their number."""
    return not options.anneal


def check(options: GanOptions) -> None:
    """Raises InputError for a gradient penalty on a discriminator with BatchNorm, and if the file of --from
    does not exist."""
    if options.from_ and not Path(options.from_).is_file():
        raise InputError(f"{options.from_} does not exist; --from takes the weights of a generator")
    if options.gamma and options.network == "report":
        raise InputError("--gamma needs --network default; the report's discriminator has BatchNorm, with "
                         "which the logit of a face depends on the other faces of the batch")


def adam(network: nn.Module, options: GanOptions) -> torch.optim.Adam:
    """The Adam optimiser of either network (Radford et al. 2016, section 4)."""
    return torch.optim.Adam(network.parameters(), options.lr, options.betas, fused=True)


def set_rates(options: GanOptions, progress: float, *optimisers: torch.optim.Optimizer) -> None:
    """Set the learning rate for a `progress` of training between 0 and 1."""
    rate = falling(options.lr, 0.25, progress) if options.anneal else options.lr
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate


def penalty(options: GanOptions, progress: float, discriminate: Callable[[Tensor], Tensor],
            real: Tensor) -> Tensor:
    """γ/2 R1 for a `progress` of training between 0 and 1, multiplied by PENALTY_EVERY, the number of steps
    for which it stands (lazy regularisation: Karras et al. 2020, appendix B)."""
    gamma = falling(options.gamma, 0.1, progress) if options.anneal else options.gamma
    return PENALTY_EVERY * gamma / 2 * gradient_penalty(discriminate, real)


def discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-d_real.float()).mean() + F.softplus(d_fake.float()).mean()


def generator_loss(d_fake: Tensor) -> Tensor:
    """-log D(G(z)), the non-saturating loss (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-d_fake.float()).mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], faces: Tensor) -> Tensor:
    """E ‖∇D(x)‖² of real faces (N, 3, H, W), in float32: R1 (Mescheder et al. 2018, equation 9) without its
    factor γ/2. The discriminator must not use BatchNorm, with which D(x) depends on the whole batch."""
    faces = faces.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminate(faces).sum(), faces, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def discriminator_probabilities(d_real: Tensor, d_fake: Tensor) -> tuple[float, float]:
    """D(x) and D(G(z)), the mean probabilities that a face is real."""
    return torch.sigmoid(d_real.float()).mean().item(), torch.sigmoid(d_fake.float()).mean().item()


def collapse_warning(real: float, fake: float) -> str | None:
    """A warning if the discriminator separates real and generated faces almost perfectly, else None."""
    if real > 0.95 and fake < 0.05:
        return (f"the discriminator has won (D(x) {real:.3f}, D(G(z)) {fake:.3f}): "
                "the generator's gradient nearly vanishes")
    return None
