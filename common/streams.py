"""Where random numbers come from: every purpose has a stream of its own, a function of (seed, purpose, step) alone.

So a resumed training draws what an uninterrupted one would have drawn, with no random state to save; two purposes never share
draws; and since everything is drawn on the CPU, a training on a GPU sees the same batches and the same augmentation as one on the
CPU. (Dropout alone draws on its own device.)
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def key(seed: int, purpose: str, step: int = 0) -> int:
    """64 bits for a generator, as if independent for different arguments (numpy's SeedSequence mixes them)."""
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), step])
    return int(words.generate_state(1, np.uint64)[0])


def stream(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A generator, on the CPU, at the beginning of that stream."""
    return torch.Generator().manual_seed(key(seed, purpose, step))


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on the CPU → the same on the device. On a GPU through pinned memory, so that the program does not wait until the
    device has done what it was asked before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
