"""The averaged network that is evaluated and released, and the statistics it is evaluated with."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EMA(Generic[Network]):
    """Exponential moving average of a network's weights; `network` is the teacher.

    The decay is warmed up, min(decay, (1 + t) / (10 + t)), so that the random start is soon forgotten. Only parameters are
    averaged: BatchNorm statistics of averaged weights are not the average of statistics, and are re-estimated before any
    evaluation (`estimate_statistics`); until then the buffers are copies of the student's.
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
    """A copy of the network in evaluation mode, its BatchNorm statistics the plain mean over the given batches of images
    (N, 3, H, W) float in [0, 1]; no label is involved (AdaBN, Li et al. 2017, where the images are the target's)."""
    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.SyncBatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # cumulative mean instead of an exponential one
            layer.train()          # this layer alone: dropout must stay off
    for images in batches:
        network(images)
    return network.eval()
