"""The game of generator and discriminator: its options, and its losses as pure functions of discriminator logits (N,), d_real of
real images, d_fake of generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.options import option, seed_option

KINDS = ("bce", "relativistic")


@dataclass(frozen=True)
class Game:
    """Options of a training of two networks on faces. The plain loss, and nothing varied that the discriminator sees: in short
    runs the better faces."""

    loss: str = option("bce", "the adversary's; relativistic: real is to look more real than generated", KINDS)
    width: int = option(64, "channels of the generator's last stage; 64 is 3.6 M parameters, 32 suits small machines",
                        least=1, most=512)
    d_width: int = option(0, "channels of the discriminator's first stage; 0: as --width", least=0, most=512)
    epochs: int = option(20, "passes over the faces; the end is the result", least=1, most=10**6)
    batch: int = option(64, "faces per step; BatchNorm needs two", least=2, most=10**6)
    lr: float = option(2e-4, "Adam's learning rate, of either network", above=0, most=10)
    beta1: float = option(0.5, "Adam's first decay: less momentum than usual, since the other network moves too", least=0, below=1)
    deviation: float = option(0.02, "standard deviation of the convolutions' first weights", above=0, most=10)
    flip: bool = option(True, "mirror half of the faces")
    disturb: bool = option(False, "augment what the discriminator sees, real and generated alike")
    ema: float = option(0.999, "decay of the averaged generator that is released; 0 releases the last weights", least=0, below=1)
    seed: int = seed_option()


# the original's: the same losses, nothing varied, nothing averaged (report, sections 3 and 4)
REPORT: dict[str, Any] = {"loss": "bce", "epochs": 100, "batch": 128, "flip": False, "disturb": False, "ema": 0.0}


def adam(network: nn.Module, game: Game) -> torch.optim.Adam:
    """The optimiser of either network (Radford et al. 2016, section 4)."""
    return torch.optim.Adam(network.parameters(), game.lr, (game.beta1, 0.999), fused=True)


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


def certainty(d_real: Tensor, d_fake: Tensor) -> tuple[float, float]:
    """D(x) and D(G(z)) as probabilities about the mean of all logits, since a loss of differences leaves their level open; 0.5 and
    0.5 where the discriminator knows nothing."""
    level = 0.5 * (d_real.float().mean() + d_fake.float().mean())
    return torch.sigmoid(d_real.float() - level).mean().item(), torch.sigmoid(d_fake.float() - level).mean().item()


def won(real: float, fake: float) -> str | None:
    """What to say when D(x) and D(G(z)) leave nothing for the generator to learn from."""
    if real > 0.95 and fake < 0.05:
        return f"the discriminator has won (D(x) {real:.3f}, D(G(z)) {fake:.3f}): the generator's gradient is nearly gone"
    return None
