"""The networks of ACGAN (Odena et al., ICML 2017, section 3): a generator conditioned on a class, and a
discriminator with two heads, one for real versus generated and one for the class. The class says whether a
face has an attribute (1) or not (0).

Architecture and size are those of DCGAN. Both heads return logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import down_convolutions, initialise, initialise_without_norm, up_convolutions

NOISE = 100


def noise(count: int, seed: int) -> Tensor:
    """Noise (count, 100), drawn on the CPU so that it is the same on every machine."""
    return torch.randn(count, NOISE, generator=torch.Generator().manual_seed(seed))


class ClassNorm(nn.Module):
    """Conditional BatchNorm (de Vries et al. 2017, section 3.2), with a scale and a shift per class:
    (N, C, H, W) and c (N,), 0 or 1 in training → (N, C, H, W). Other values of c interpolate or extrapolate
    the scales and shifts linearly."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.weight, self.bias = nn.Parameter(torch.ones(2, channels)), nn.Parameter(torch.zeros(2, channels))

    def forward(self, maps: Tensor, c: Tensor) -> Tensor:
        c = c[:, None].to(self.weight.dtype)
        weight, bias = (torch.lerp(values[0], values[1], c)[:, :, None, None]
                        for values in (self.weight, self.bias))
        return self.norm(maps) * weight.to(maps.dtype) + bias.to(maps.dtype)


class Layers(nn.ModuleList):
    """Sequential layers, of which the ClassNorm layers also receive the class."""

    def forward(self, maps: Tensor, c: Tensor) -> Tensor:
        for layer in self:
            maps = layer(maps, c) if isinstance(layer, ClassNorm) else layer(maps)
        return maps


class Generator(nn.Module):
    """z (N, 100) and classes c (N,) → faces (N, 3, size, size) in [-1, 1]. Training uses c = 0 and 1; values
    outside [0, 1] exaggerate the attribute or its absence. With `late`, the class enters through conditional
    BatchNorm from the 16x16 stage on, so that pose, hair and identity, which earlier stages determine, are
    the same in both classes. Otherwise it is concatenated with the noise (as in the report)."""

    def __init__(self, width: int = 64, deviation: float = 0.02, size: int = 64, late: bool = False) -> None:
        super().__init__()
        self.late = late
        self.layers = Layers(up_convolutions(NOISE + (not late), width, size))
        initialise(self, deviation)
        if late:  # the BatchNorm layers at 4x4 and 8x8, layers 1 and 4, stay unconditional
            for index, norm in list(enumerate(self.layers))[7:]:
                if isinstance(norm, nn.BatchNorm2d):
                    self.layers[index] = ClassNorm(norm.num_features)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        values = z if self.late else torch.cat([z, c[:, None].to(z.dtype)], 1)
        return self.layers(values[:, :, None, None], c)


class Discriminator(nn.Module):
    """Faces (N, 3, size, size) in [-1, 1] → logits (N,), higher for real faces, and logits (N, K), higher for
    faces with the k-th attribute. The report's network uses `batch_norm`."""

    def __init__(self, width: int = 64, attributes: int = 1, deviation: float = 0.02, size: int = 64,
                 batch_norm: bool = True) -> None:
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
