"""Schedules, as functions of the training progress: step / total steps, from 0 to 1."""

from __future__ import annotations

import math

WARM_UP = 50  # steps


def warm_cosine(rate: float, step: int, progress: float) -> float:
    """Linear warm-up over the first 50 steps, multiplied by cosine decay from `rate` to 0."""
    return rate * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))


def ramp(progress: float, share: float = 0.5) -> float:
    """0 → 1 along half a cosine over the first `share` of training, for losses on predictions that are
    unreliable early on."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, progress / share))


def annealed(rate: float, progress: float) -> float:
    """rate / (1 + 10 p)^0.75 (Ganin et al. 2016, section 5.2.2)."""
    return rate / (1 + 10 * progress) ** 0.75


def falling(value: float, end: float, progress: float) -> float:
    """Cosine decay from `value` to `end` · `value`."""
    return value * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))
