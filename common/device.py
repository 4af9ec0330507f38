"""Device, number of threads and precision.

All programs use channels-last memory, and bfloat16 if the hardware has it. Weights stay float32. On CUDA:

- cuDNN benchmarks its algorithms for each new shape, so that two runs may differ by rounding errors.
- `--precision fp32` disables TF32. With bf16, operations that autocast leaves in float32 may use TF32, which
  has a mantissa of 10 bits (bfloat16: 7).
"""

from __future__ import annotations

import os
import platform
import re
from typing import TypeVar

import torch
from torch import nn

from common.cli import InputError
from common.cores import cores
from common.processes import COUNT

T = TypeVar("T", bound=nn.Module)


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` selects CUDA, else MPS, else the CPU. InputError if unavailable."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise InputError(f"--device {name} is unknown; use auto, cpu, cuda, cuda:1 or mps")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(f"device {name} cannot be used here ({reason}); try --device cpu") from None
    if name == "cpu":
        torch.set_num_threads(cores())
        # late in training, gradients become denormal numbers, which are many times slower on the CPU
        torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    return torch.device(name)


def place(network: T, device: torch.device) -> T:
    """Move the network to the device, in channels-last memory."""
    return network.to(device).to(memory_format=torch.channels_last)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context for forward passes: bfloat16 if `precision` is "bf16", else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def choose_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16` for training; `auto` selects bf16 if the device supports it natively. The choice
    depends only on the hardware, not on its load, so that the same command gives the same run."""
    if name == "auto":
        name = "bf16" if has_bf16(device) else "fp32"
    torch.backends.cudnn.allow_tf32 = name == "bf16"
    torch.set_float32_matmul_precision("high" if name == "bf16" else "highest")
    return name


def has_bf16(device: torch.device) -> bool:
    """Whether the device supports bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bf16()


def cpu_has_bf16() -> bool:
    """Whether the CPU has bfloat16 (AVX512-BF16 or AMX). Others emulate it, more slowly than float32."""
    if not os.path.exists("/proc/cpuinfo"):
        return False
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def describe(device: torch.device) -> str:
    """A description of the hardware, for the card of a training."""
    processes = f", {COUNT} processes" if COUNT > 1 else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + processes
    model = platform.processor() or "CPU"
    if device.type == "mps":
        return f"{model}, GPU by MPS{processes}"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")),
                         model)
    return f"{model}, {torch.get_num_threads()} threads{processes}"


def synchronise(device: torch.device) -> None:
    """Wait until the device has completed all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
