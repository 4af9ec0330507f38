"""Parts of networks that more than one method uses. Images come in as (N, 3, 28, 28) float in [0, 1]; each network scales them
itself, so that source and target cannot be scaled differently."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Each channel of each image to mean 0 and variance 1 (instance normalisation of the input, as in Shu et al. 2018,
    section 6.1): brightness and contrast, most of what separates the domains, are gone before the first convolution."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3), keepdim=True)
        # flat images (a blank crop) must not be blown up to noise
        deviation = images.std((2, 3), keepdim=True) + 0.02
        return ((images - mean) / deviation).to(memory_format=torch.channels_last)


class GlobalPool(nn.Module):
    """(N, C, H, W) → (N, C): the mean over all positions, in float32 whatever the precision before it."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
                   nn.LeakyReLU(0.1, inplace=True)]
    return layers


def six_convolutions(width: int) -> nn.Sequential:
    """Six 3x3 convolutions in three stages and global average pooling (0.29 M parameters at width 32): (N, 3, 28, 28),
    standardised → (N, 4·width) features."""
    return nn.Sequential(
        *_block(3, width), nn.MaxPool2d(2),
        *_block(width, 2 * width), nn.MaxPool2d(2),
        *_block(2 * width, 4 * width), GlobalPool(),
    )


def by_class(features: Tensor, logits: Tensor) -> Tensor:
    """(N, D) features and (N, K) class logits → (N, D·K), their outer product with the predicted classes (Long et al. 2018,
    equation 4). What compares domains by it compares them class by class, and cannot be satisfied by matching one class with
    another. No gradient reaches the logits."""
    classes = logits.detach().float().softmax(1)
    return (features[:, :, None] * classes[:, None, :]).flatten(1)
