"""Which images make up a batch. Indices depend on (seed, purpose, step) alone, so that a resumed run sees the batches of an
uninterrupted one, and domains of different sizes are both seen whole. They lie on the device where the images are."""

from __future__ import annotations

import torch
from torch import Tensor

from common.streams import send, stream


class Shuffled:
    """Epochs without replacement: every image once per epoch, in a new order each time; the last partial batch is left to the
    next epoch's order."""

    def __init__(self, count: int, batch: int, seed: int, purpose: str, device: torch.device) -> None:
        self.count, self.batch, self.seed, self.purpose, self.device = count, min(batch, count), seed, purpose, device
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
    """Batches that hold every class equally often in expectation (SVHN's 1 is three times as frequent as its 9)."""

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
        column = torch.minimum((place * self.counts[row]).long(), self.counts[row] - 1)  # rounding may reach the count itself
        return self.members[row, column]
