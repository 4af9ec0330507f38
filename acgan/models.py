"""The networks of ACGAN (Odena et al., ICML 2017, section 3): a generator of noise and a class, and a discriminator with two heads,
one for real or generated and one for the class. The class is an attribute that a face has (1) or has not (0).

Architecture and size are DCGAN's. Both heads return logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import down_convolutions, initialise, up_convolutions

NOISE = 100


def noise(count: int, seed: int) -> Tensor:
    """(count, 100), the same on every machine: drawn on the CPU."""
    return torch.randn(count, NOISE, generator=torch.Generator().manual_seed(seed))


class Generator(nn.Module):
    """z (N, 100) and classes c (N,) → faces (N, 3, 64, 64) in [-1, 1]. The class comes in beside the noise as one value, 0 or 1 in
    training; values beyond them ask for more of it."""

    def __init__(self, width: int = 64, deviation: float = 0.02) -> None:
        super().__init__()
        self.layers = up_convolutions(NOISE + 1, width)
        initialise(self, deviation)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.layers(torch.cat([z, c[:, None].to(z.dtype)], 1)[:, :, None, None])


class Discriminator(nn.Module):
    """Faces (N, 3, 64, 64) in [-1, 1] → logits (N,), greater for real ones, and (N, K), greater for those with each attribute."""

    def __init__(self, width: int = 64, attributes: int = 1, deviation: float = 0.02) -> None:
        super().__init__()
        self.trunk = down_convolutions(width)
        self.output = nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False)
        self.classifier = nn.Conv2d(8 * width, attributes, 4, 1, 0, bias=False)
        initialise(self, deviation)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(faces)
        return self.output(features).flatten(), self.classifier(features).flatten(1)
