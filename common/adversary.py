"""The game of generator and discriminator: its options, and its losses as pure functions of discriminator logits (N,), d_real of
real images, d_fake of generated ones."""

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

KINDS = ("bce", "relativistic")


@dataclass(frozen=True)
class Game:
    """Options of a training of two networks on faces. The plain loss, and nothing varied that the discriminator sees: in short
    runs the better faces."""

    network: str = option("report", "the report's, or a discriminator without BatchNorm, which a gradient penalty needs",
                          ("report", "default"))
    size: int = option(64, "height and width of the faces: 32, 64 or 128", choices=(32, 64, 128))
    loss: str = option("bce", "the adversary's; relativistic: real is to look more real than generated", KINDS)
    gamma: float = option(0.0, "weight of the gradient penalties on real and generated faces (R1, R2); 0: none", least=0, most=1000)
    penalty_every: int = option(8, "steps from one penalty to the next, each of which counts for as many", least=1, most=10**6)
    width: int = option(64, "channels of the generator's last stage; 64 is 3.6 M parameters, 32 suits small machines",
                        least=1, most=512)
    d_width: int = option(0, "channels of the discriminator's first stage; 0: as --width", least=0, most=512)
    from_: str = option("", "weights to begin with: the generator of that file, against a new discriminator")
    epochs: int = option(20, "passes over the faces; the end is the result", least=1, most=10**6)
    batch: int = option(64, "faces per step; BatchNorm needs two", least=2, most=10**6)
    lr: float = option(2e-4, "Adam's learning rate, of either network", above=0, most=10)
    betas: tuple[float, float] = option((0.5, 0.999), "Adam's decays: less momentum than usual, since the other network moves too",
                                        least=0, below=1)
    anneal: bool = option(False, "learning rate and gamma fall along half a cosine, to a quarter and to a tenth")
    deviation: float = option(0.02, "standard deviation of the convolutions' first weights", above=0, most=10)
    flip: bool = option(True, "mirror half of the faces")
    diffaugment: bool = option(False, "augment what the discriminator sees, real and generated alike")
    ema: float = option(0.999, "decay of the averaged generator that is released; 0 releases the last weights", least=0, below=1)
    seed: int = seed_option()


# the original's: the same losses, nothing varied, nothing averaged (report, sections 3 and 4)
REPORT: dict[str, Any] = {"loss": "bce", "epochs": 100, "batch": 128, "flip": False, "diffaugment": False, "ema": 0.0}


def may_grow(game: Game) -> bool:
    """Whether a run can go on for more epochs than it was begun with: nothing in it depends on how many there are."""
    return not game.anneal


def check_game(game: Game) -> None:
    """InputError for a penalty on a discriminator for which it means nothing, and for weights to begin with that are not there."""
    if game.from_ and not Path(game.from_).is_file():
        raise InputError(f"{game.from_} does not exist; --from wants the weights of a generator")
    if game.gamma and game.network == "report":
        raise InputError("--gamma needs --network default; the report's discriminator has BatchNorm, by which the logit of a face "
                         "depends on the other faces")


def adam(network: nn.Module, game: Game) -> torch.optim.Adam:
    """The optimiser of either network (Radford et al. 2016, section 4)."""
    return torch.optim.Adam(network.parameters(), game.lr, game.betas, fused=True)


def set_rates(game: Game, progress: float, *optimisers: torch.optim.Optimizer) -> None:
    """The learning rate at that share of the training, from 0 to 1."""
    rate = falling(game.lr, 0.25, progress) if game.anneal else game.lr
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate


def penalties(game: Game, progress: float, discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """γ/2 (R1 + R2) at that share of the training, times the steps for which it counts."""
    gamma = falling(game.gamma, 0.1, progress) if game.anneal else game.gamma
    both = gradient_penalty(discriminate, real) + gradient_penalty(discriminate, fake)
    return game.penalty_every * gamma / 2 * both


def discriminator_loss(d_real: Tensor, d_fake: Tensor, kind: str) -> Tensor:
    """bce: -log D(x) - log(1 - D(G(z))) (Goodfellow et al. 2014, equation 1). relativistic: -log σ(d_real - d_fake), a real
    image is to look more real than a generated one (Jolicoeur-Martineau 2019, section 4.1, with one fake to each real)."""
    if kind == "bce":
        return F.softplus(-d_real.float()).mean() + F.softplus(d_fake.float()).mean()
    return F.softplus(d_fake.float() - d_real.float()).mean()


def generator_loss(d_real: Tensor, d_fake: Tensor, kind: str) -> Tensor:
    """bce: -log D(G(z)), the form that does not saturate (Goodfellow et al. 2014, section 3); d_real plays no part. relativistic:
    -log σ(d_fake - d_real)."""
    if kind == "bce":
        return F.softplus(-d_fake.float()).mean()
    return F.softplus(d_real.float() - d_fake.float()).mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], faces: Tensor) -> Tensor:
    """E ‖∇D(x)‖² of faces (N, 3, H, W), in float32: R1 on real ones, R2 on generated ones (Mescheder et al. 2018, equations 9 and
    10). No gradient reaches the faces. The discriminator must not have BatchNorm, with which D(x) depends on the other faces."""
    faces = faces.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminate(faces).sum(), faces, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def discriminator_probabilities(d_real: Tensor, d_fake: Tensor) -> tuple[float, float]:
    """D(x) and D(G(z)) as probabilities about the mean of all logits, since a loss of differences leaves their level open; 0.5 and
    0.5 where the discriminator knows nothing."""
    level = 0.5 * (d_real.float().mean() + d_fake.float().mean())
    return torch.sigmoid(d_real.float() - level).mean().item(), torch.sigmoid(d_fake.float() - level).mean().item()


def collapse_warning(real: float, fake: float) -> str | None:
    """What to say when D(x) and D(G(z)) leave nothing for the generator to learn from."""
    if real > 0.95 and fake < 0.05:
        return f"the discriminator has won (D(x) {real:.3f}, D(G(z)) {fake:.3f}): the generator's gradient is nearly gone"
    return None
