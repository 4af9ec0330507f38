"""Samplers that give the indices of a batch. Indices depend only on (seed, purpose, step), so that a resumed
run sees the same batches as an uninterrupted one. Each domain has its own sampler, so that domains of
different sizes are both covered completely. The indices are on the device of the images."""

from __future__ import annotations

import torch
from torch import Tensor

from common.streams import send, stream


class Shuffled:
    """Sampling without replacement, in a new order each epoch, whose last, incomplete batch is dropped."""

    def __init__(self, count: int, batch: int, seed: int, purpose: str, device: torch.device) -> None:
        self.count, self.batch, self.seed, self.purpose, self.device = (
            count, min(batch, count), seed, purpose, device)
        self.per_epoch = count // self.batch
        self.epoch, self.order = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices of that step."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            order = torch.randperm(self.count, generator=stream(self.seed, self.purpose, epoch))
            self.epoch, self.order = epoch, send(order, self.device)
        return self.order[place * self.batch:(place + 1) * self.batch]


class Balanced:
    """Batches in which all classes have the same expected frequency (in SVHN, the digit 1 is three times as
    frequent as 9)."""

    def __init__(self, labels: Tensor, batch: int, seed: int, purpose: str) -> None:
        members = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
        self.counts = torch.tensor([len(m) for m in members], device=labels.device)
        self.members = torch.nn.utils.rnn.pad_sequence(members, batch_first=True)
        self.batch, self.seed, self.purpose = batch, seed, purpose

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices of that step."""
        draws = torch.rand(2, self.batch, generator=stream(self.seed, self.purpose, step))
        label, place = send(draws, self.counts.device)
        row = (label * len(self.counts)).long()
        # rounding may yield the count itself
        column = torch.minimum((place * self.counts[row]).long(), self.counts[row] - 1)
        return self.members[row, column]
