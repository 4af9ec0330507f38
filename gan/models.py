"""The networks of DCGAN (Radford et al., ICLR 2016, section 3 and figure 1): transposed convolutions from
noise to a face, and strided convolutions from a face to one logit. (The Sigmoid of the report's listing is
part of the loss.)"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import down_convolutions, initialise, initialise_without_norm, up_convolutions

INPUTS = 101  # dimension of the noise, as in the report's listing


def noise(count: int, seed: int) -> Tensor:
    """Noise (count, 101), drawn on the CPU so that it is the same on every machine."""
    return torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(seed))


class Generator(nn.Module):
    """z (N, 101) → faces (N, 3, size, size) in [-1, 1]."""

    def __init__(self, width: int = 64, deviation: float = 0.02, size: int = 64) -> None:
        super().__init__()
        self.size = size
        self.layers = up_convolutions(INPUTS, width, size)
        initialise(self, deviation)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


class Discriminator(nn.Module):
    """Faces (N, 3, size, size) in [-1, 1] → logits (N,), higher for real faces. The report's network uses
    `batch_norm`."""

    def __init__(self, width: int = 64, deviation: float = 0.02, size: int = 64,
                 batch_norm: bool = True) -> None:
        super().__init__()
        self.trunk = down_convolutions(width, size, batch_norm)
        self.output = nn.Conv2d(width * size // 8, 1, 4, 1, 0, bias=not batch_norm)
        if batch_norm:
            initialise(self, deviation)
        else:
            initialise_without_norm(self)

    def forward(self, faces: Tensor) -> Tensor:
        return self.output(self.trunk(faces)).flatten()
