"""Network modules shared by several methods.

Digits are float (N, 3, 28, 28) in [0, 1]. Normalisation is part of the network, so that it is the same for
source and target. Faces are (N, 3, size, size) in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Instance normalisation of the input (Shu et al. 2018, section 6.1): each channel of each image to mean
    0 and variance 1. It removes brightness and contrast, which account for most of the domain gap."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3), keepdim=True)
        # the offset keeps the noise of nearly flat images (a blank crop) from being amplified
        deviation = images.std((2, 3), keepdim=True) + 0.02
        return ((images - mean) / deviation).to(memory_format=torch.channels_last)


class Centre(nn.Module):
    """[0, 1] → [-1, 1], the same for both domains."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class GlobalPool(nn.Module):
    """Global average pooling in float32, also under autocast: (N, C, H, W) → (N, C)."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
                   nn.LeakyReLU(0.1, inplace=True)]
    return layers


def six_convolutions(width: int) -> nn.Sequential:
    """Six 3x3 convolutions in three stages and global average pooling, 0.29 M parameters at width 32:
    standardised images (N, 3, 28, 28) → features (N, 4·width)."""
    return nn.Sequential(
        *_block(3, width), nn.MaxPool2d(2),
        *_block(width, 2 * width), nn.MaxPool2d(2),
        *_block(2 * width, 4 * width), GlobalPool(),
    )


def by_class(features: Tensor, logits: Tensor) -> Tensor:
    """(N, D) features and (N, K) class logits → (N, D·K), the outer product of features and class
    probabilities (Long et al. 2018, equation 4). A domain discriminator on it aligns the domains class by
    class rather than one class with another. The logits are detached."""
    classes = logits.detach().float().softmax(1)
    return (features[:, :, None] * classes[:, None, :]).flatten(1)


def up_convolutions(inputs: int, width: int, size: int = 64) -> nn.Sequential:
    """(N, inputs, 1, 1) → faces (N, 3, size, size): five transposed convolutions for size 64 (Radford et al.
    2016, figure 1), 3.6 M parameters with 101 inputs and width 64. Doubling the size adds a stage with twice
    the channels at the input."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, width * size // 8, 4, 1, 0, bias=False)]
    for channels in stages(width, size):
        layers += [nn.BatchNorm2d(2 * channels), nn.ReLU(),
                   nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


def stages(width: int, size: int) -> list[int]:
    """Channels after each transposed convolution between the first and the last: 4, 2 and 1 times the width
    at size 64."""
    return [width * 2 ** power for power in reversed(range(size.bit_length() - 4))]


def down_convolutions(width: int, size: int = 64, batch_norm: bool = True) -> nn.Sequential:
    """Faces (N, 3, size, size) → (N, size/8·width, 4, 4): strided convolutions, 2.8 M parameters at width 64
    and size 64. The convolutions have biases only without BatchNorm."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=not batch_norm), nn.LeakyReLU(0.2)]
    for channels in reversed(stages(width, size)):
        layers.append(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2)] if batch_norm else [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def initialise(network: nn.Module, deviation: float) -> None:
    """Initialise convolutions from N(0, deviation) and the weights of BatchNorm from N(1, 0.02) (Radford
    et al. 2016, section 4). The second arguments are standard deviations."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, deviation)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def initialise_without_norm(network: nn.Module) -> None:
    """He initialisation (He et al. 2015), which preserves the variance from stage to stage; without
    BatchNorm, nothing would correct another scale."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
