"""Several processes, one training: `torchrun --nproc-per-node 4 -m gan.train …`, on one machine or on several.

Each process makes the same batch from the same random streams and takes its share; DistributedDataParallel averages the gradients.
The first process alone has the run folder and the screen. One process, started without torchrun, gets everything back unchanged.
"""

from __future__ import annotations

import atexit
import copy
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.cli import InputError

T = TypeVar("T", bound=nn.Module)

# this process's number, how many there are, and its number on this machine
RANK, COUNT, LOCAL = (int(os.environ[name]) if dist.is_available() and dist.is_torchelastic_launched() else alone
                      for name, alone in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
STARTER = "python" if COUNT == 1 else f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}"


def join(device: str) -> str:
    """Meet the other processes. Returns the device's name: of the GPUs of a machine, each process has its own."""
    if COUNT == 1:
        return device
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} is for one process; torchrun takes cuda (each process its own GPU) or cpu")
    if RANK:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the program runs)
    if not dist.is_initialized():
        dist.init_process_group()  # NCCL for what lies on GPUs, gloo for what lies on the CPU
        atexit.register(dist.destroy_process_group)
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if torch.cuda.device_count() > LOCAL:
        torch.cuda.set_device(LOCAL)  # also for what asks for no device by name, as NCCL and pinned memory do
    return f"cuda:{LOCAL}"


def scratch(resumed: Path | None) -> Path | None:
    """A run folder to be thrown away, with the checkpoint of the one that is resumed; None for the first process, which has the
    true one."""
    if RANK == 0:
        return None
    folder = Path(tempfile.mkdtemp(prefix="hw3-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if resumed and (resumed / "last.pt").exists():
        shutil.copy(resumed / "last.pt", folder)
    return folder


def share(whole: Tensor, dim: int = 0) -> Tensor:
    """This process's part of a batch: every COUNT-th sample along `dim`. InputError where that leaves some over."""
    if whole.shape[dim] % COUNT:
        raise InputError(f"{whole.shape[dim]} samples of a batch cannot be shared equally among {COUNT} processes; choose another "
                         "--batch")
    return whole.unflatten(dim, (-1, COUNT)).select(dim + 1, RANK) if COUNT > 1 else whole


def own(step: int) -> int:
    """The step of a random stream from which each process draws something of its own."""
    return step * COUNT + RANK


def parallel(network: T) -> T:
    """The network for training: the same weights, whose gradients are the mean over all processes, and on a GPU BatchNorm over the
    whole batch. What saves, averages or evaluates it goes on with the one that was given."""
    if COUNT == 1:
        return network
    network = copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})
    for name, part in list(network.named_children()):
        if any(tensor.is_cuda for tensor in part.parameters()):
            part = nn.SyncBatchNorm.convert_sync_batchnorm(part)
        if any(weight.requires_grad for weight in part.parameters()):
            # part by part, since a method calls them one by one, and not always all
            part = nn.parallel.DistributedDataParallel(part)
            part.require_forward_param_sync = False  # a batch's BatchNorm statistics are each process's, or in step already
        setattr(network, name, part)
    return network


def anyone(wants: bool) -> bool:
    """Whether any process does: they end after the same step, or those that go on would wait for the others."""
    if COUNT == 1:
        return wants
    answer = torch.tensor(int(wants))
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def lost(problem: RuntimeError) -> bool:
    """Whether an exception says that another process has gone."""
    return COUNT > 1 and ("gloo" in str(problem) or isinstance(problem, dist.DistError))
