"""Which images make up a batch. Indices depend on (seed, step) alone, through the generator that is seeded for the step, so
that a resumed run sees the batches of an uninterrupted one, and so that domains of different sizes are both seen whole."""

from __future__ import annotations

import torch
from torch import Tensor


class Shuffled:
    """Epochs without replacement: every image once per epoch, in a new order each time; the last partial batch is left to the
    next epoch's order."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count, self.batch, self.seed = count, min(batch, count), seed
        self.per_epoch = count // self.batch
        self.epoch, self.order = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices of that step, on the CPU."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self.epoch, self.order = epoch, torch.randperm(self.count, generator=generator)
        return self.order[place * self.batch:(place + 1) * self.batch]


class Balanced:
    """Batches that hold every class equally often in expectation (SVHN's 1 is three times as frequent as its 9)."""

    def __init__(self, labels: Tensor, batch: int, seed: int) -> None:
        present = labels.unique()
        members = [torch.nonzero(labels.cpu() == label)[:, 0] for label in present.tolist()]
        self.counts = torch.tensor([len(m) for m in members])
        self.members = torch.nn.utils.rnn.pad_sequence(members, batch_first=True)
        self.batch, self.seed = batch, seed

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices of that step, on the CPU."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        label = torch.randint(len(self.counts), (self.batch,), generator=generator)
        place = (torch.rand(self.batch, generator=generator) * self.counts[label]).long()
        return self.members[label, place]
