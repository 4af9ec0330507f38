"""Where and how the arithmetic runs: device, threads, random state, precision.

One policy for every program: channels-last memory, and bfloat16 where it is fast (on a GPU that has it; on a CPU only after
a short measurement, since without hardware support it is slower than float32). Weights stay float32.
"""

from __future__ import annotations

import os
import time
from typing import TypeVar

import torch
from torch import nn

from common.cli import InputError

T = TypeVar("T", bound=nn.Module)


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU. InputError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(f"device {name} cannot be used here ({reason}); try --device cpu") from None
    if name == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        # late in training gradients underflow to denormal numbers, which the CPU handles many times slower
        torch.set_flush_denormal(True)
    return torch.device(name)


def place(network: T, device: torch.device) -> T:
    """The network on the device, in channels-last memory."""
    return network.to(device).to(memory_format=torch.channels_last)


def seed_step(generator: torch.Generator, seed: int, step: int) -> None:
    """Set the global and the given generator from (seed, step) alone. Every step of a training begins with this, so that a
    resumed run draws what an uninterrupted one would have drawn, with no random state to save."""
    mixed = (seed * 1_000_003 + step) % 2**63
    torch.manual_seed(mixed)
    generator.manual_seed(mixed)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context for forward passes: bfloat16 where `precision` says so, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def choose_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16` for training; `auto` asks the GPU, and times both on a CPU (0.2 s)."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        # in turns, since a busy machine is slower at times and never faster
        turns = [(_seconds(device, "bf16"), _seconds(device, "fp32")) for _ in range(4)]
        bf16, fp32 = (min(times) for times in zip(*turns, strict=True))
        return "bf16" if bf16 < 0.8 * fp32 else "fp32"
    return "fp32"


def _seconds(device: torch.device, precision: str) -> float:
    """The fastest of five forward and backward passes of one convolution."""
    layer = nn.Conv2d(32, 32, 3, padding=1).to(device).to(memory_format=torch.channels_last)
    images = torch.zeros(64, 32, 28, 28, device=device).to(memory_format=torch.channels_last)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        with autocast(device, precision):
            layer(images).float().sum().backward()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def describe(device: torch.device) -> str:
    """The hardware in words, for the card of a training."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = "CPU"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {torch.get_num_threads()} threads"
