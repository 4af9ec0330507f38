"""The game of generator and discriminator, as pure functions of discriminator logits (N,): d_real of real images, d_fake of
generated ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("bce", "relativistic")


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
    if real > 0.98 and fake < 0.02:
        return f"the discriminator has won (D(x) {real:.3f}, D(G(z)) {fake:.3f}): the generator's gradient is nearly gone"
    return None
