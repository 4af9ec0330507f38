"""Values that change over a training, as functions of its progress: step / total steps, from 0 to 1."""

from __future__ import annotations

import math

WARM_UP = 50  # steps


def warm_cosine(rate: float, step: int, progress: float) -> float:
    """The learning rate: up to `rate` over the first 50 steps, and along half a cosine down to 0."""
    return rate * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))


def ramp(progress: float, share: float = 0.5) -> float:
    """0 → 1 over that share of training, along half a cosine: early predictions are not worth learning from."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, progress / share))


def annealed(rate: float, progress: float) -> float:
    """rate / (1 + 10 p)^0.75 (Ganin et al. 2016, section 5.2.2)."""
    return rate / (1 + 10 * progress) ** 0.75


def falling(value: float, end: float, progress: float) -> float:
    """From `value` along half a cosine to `end` times that."""
    return value * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))
