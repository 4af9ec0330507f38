"""Weight averaging, and BatchNorm statistics for the averaged network."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EMA(Generic[Network]):
    """Exponential moving average of the weights of a network, in `network`.

    The decay is warmed up, min(decay, (1 + t) / (10 + t)), so that the random initialisation is soon
    forgotten. Only parameters are averaged. BatchNorm statistics of averaged weights are not averages of
    statistics, so they are copied from the training network here and estimated again by `estimate_statistics`
    before the evaluation.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network: Network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(other)


@torch.no_grad()
def estimate_statistics(network: Network, batches: list[Tensor]) -> Network:
    """A copy in evaluation mode, with BatchNorm statistics averaged over the given batches of images
    (N, 3, H, W), float in [0, 1]. No label is involved. With target images this is AdaBN (Li et al. 2017)."""
    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.SyncBatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative instead of an exponential mean
            layer.train()          # only this layer; dropout stays off
    for images in batches:
        network(images)
    return network.eval()
