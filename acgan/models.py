"""The networks of ACGAN (Odena et al., ICML 2017, section 3): a generator of noise and a class, and a discriminator with two heads,
one for real or generated and one for the class. The class is an attribute that a face has (1) or has not (0).

Architecture and size are DCGAN's. Both heads return logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import down_convolutions, initialise, initialise_without_norm, up_convolutions

NOISE = 100


def noise(count: int, seed: int) -> Tensor:
    """(count, 100), the same on every machine: drawn on the CPU."""
    return torch.randn(count, NOISE, generator=torch.Generator().manual_seed(seed))


class ClassNorm(nn.Module):
    """BatchNorm with a scale and a shift for each class (de Vries et al. 2017, section 3.2): (N, C, H, W) and c (N,), 0 or 1 in
    training → (N, C, H, W). Values between them are a mixture of the classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.weight, self.bias = nn.Parameter(torch.ones(2, channels)), nn.Parameter(torch.zeros(2, channels))

    def forward(self, maps: Tensor, c: Tensor) -> Tensor:
        c = c[:, None].to(self.weight.dtype)
        weight, bias = (torch.lerp(values[0], values[1], c)[:, :, None, None] for values in (self.weight, self.bias))
        return self.norm(maps) * weight.to(maps.dtype) + bias.to(maps.dtype)


class Layers(nn.ModuleList):
    """One layer after the other; those that depend on the class are given it."""

    def forward(self, maps: Tensor, c: Tensor) -> Tensor:
        for layer in self:
            maps = layer(maps, c) if isinstance(layer, ClassNorm) else layer(maps)
        return maps


class Generator(nn.Module):
    """z (N, 100) and classes c (N,) → faces (N, 3, size, size) in [-1, 1]. Values of c beyond 0 and 1, which training has, ask for
    more of the attribute. `late`: the class is beside the noise only from the stage of 16 by 16 pixels on, as scales and shifts, so
    that pose, hair and person, which the stages before it decide, are the same in both classes. Else it is one more input (the
    report's)."""

    def __init__(self, width: int = 64, deviation: float = 0.02, size: int = 64, late: bool = False) -> None:
        super().__init__()
        self.late = late
        self.layers = Layers(up_convolutions(NOISE + (not late), width, size))
        initialise(self, deviation)
        if late:  # the BatchNorms of 4 and 8 pixels, at 1 and 4, stay as they are
            for index, norm in list(enumerate(self.layers))[7:]:
                if isinstance(norm, nn.BatchNorm2d):
                    self.layers[index] = ClassNorm(norm.num_features)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        values = z if self.late else torch.cat([z, c[:, None].to(z.dtype)], 1)
        return self.layers(values[:, :, None, None], c)


class Discriminator(nn.Module):
    """Faces (N, 3, size, size) in [-1, 1] → logits (N,), greater for real ones, and (N, K), greater for those with each attribute.
    `batch_norm`: the report's."""

    def __init__(self, width: int = 64, attributes: int = 1, deviation: float = 0.02, size: int = 64, batch_norm: bool = True
                 ) -> None:
        super().__init__()
        self.trunk = down_convolutions(width, size, batch_norm)
        features = width * size // 8
        self.output = nn.Conv2d(features, 1, 4, 1, 0, bias=not batch_norm)
        self.classifier = nn.Conv2d(features, attributes, 4, 1, 0, bias=not batch_norm)
        if batch_norm:
            initialise(self, deviation)
        else:
            initialise_without_norm(self)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(faces)
        return self.output(features).flatten(), self.classifier(features).flatten(1)
