"""Random number streams: each purpose has its own stream, which depends only on (seed, purpose, step).

A resumed training therefore draws the same numbers as an uninterrupted one, without saved random states, and
different purposes draw independently. Everything is drawn on the CPU, so that a training on a GPU sees the
same batches and the same augmentation as one on the CPU. (The only exception is dropout.)
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def key(seed: int, purpose: str, step: int = 0) -> int:
    """A 64-bit seed for a generator, hashed from the arguments with numpy's SeedSequence."""
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), step])
    return int(words.generate_state(1, np.uint64)[0])


def stream(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A CPU generator at the start of the stream."""
    return torch.Generator().manual_seed(key(seed, purpose, step))


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to the device. Pinned memory saves copies to a GPU from waiting for its queue."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
