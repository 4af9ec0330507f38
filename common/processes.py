"""Data-parallel training: `torchrun --nproc-per-node 4 -m gan.train …`, on one or several machines.

Every process draws the whole batch from the same random streams and takes its share of it;
DistributedDataParallel averages the gradients. Only the first process writes the run folder and prints.
Without torchrun, or with one process, every function here returns its input unchanged.
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

TORCHRUN = dist.is_available() and dist.is_torchelastic_launched()
RANK = int(os.environ["RANK"]) if TORCHRUN else 0  # of this process
COUNT = int(os.environ["WORLD_SIZE"]) if TORCHRUN else 1  # of all processes
# how to start a training again
STARTER = f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}" if COUNT > 1 else "python"


def join(device: str) -> str:
    """Join the process group; returns the device's name. Each process on a machine uses a GPU of its own."""
    if COUNT == 1:
        return device
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} is for one process; torchrun takes cuda (a GPU for each) or cpu")
    if RANK:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the program runs)
    if not dist.is_initialized():
        dist.init_process_group()  # NCCL for tensors on GPUs, gloo for tensors on the CPU
        atexit.register(dist.destroy_process_group)
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    gpu = int(os.environ["LOCAL_RANK"])
    if gpu in range(torch.cuda.device_count()):  # else choose_device reports that it is missing
        torch.cuda.set_device(gpu)  # the default device of NCCL and of pinned memory
    return f"cuda:{gpu}"


def scratch(resumed: Path | None) -> Path | None:
    """None for the first process, which uses the real run folder. The others do the same work in a temporary
    folder, which gets the checkpoint and the stages of the resumed run and is deleted at the end."""
    if RANK == 0:
        return None
    folder = Path(tempfile.mkdtemp(prefix="hw3-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in (resumed / "last.pt", *resumed.glob("stage-*")) if resumed else ():
        if path.exists():
            shutil.copy(path, folder)
    return folder


def share(whole: Tensor) -> Tensor:
    """This process's part of a batch: every COUNT-th sample. InputError if it cannot be divided equally."""
    if len(whole) % COUNT:
        raise InputError(f"{len(whole)} samples of a batch cannot be shared equally among {COUNT} processes; "
                         "choose another --batch")
    return whole[RANK::COUNT] if COUNT > 1 else whole


def own(step: int) -> int:
    """The step to use for a random stream that every process draws from separately."""
    return step * COUNT + RANK


def parallel(network: T) -> T:
    """The network to train with. It shares the weights of the given one, averages gradients over all
    processes, and on GPUs computes BatchNorm statistics from the whole batch. Code that saves or averages
    weights keeps using the given network."""
    if COUNT == 1:
        return network
    kept = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, kept)
    # wrap each part, since the methods call parts separately and not all of them in every step
    for name, part in list(network.named_children()):
        weights = list(part.parameters())
        if any(weight.is_cuda for weight in weights):
            part = nn.SyncBatchNorm.convert_sync_batchnorm(part)  # it does not support the CPU
        if any(weight.requires_grad for weight in weights):
            part = nn.parallel.DistributedDataParallel(part)
            # do not broadcast buffers in the forward pass: there may be two before a backward pass
            part.require_forward_param_sync = False
        setattr(network, name, part)
    return network


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of a value over all processes."""
    if COUNT > 1:
        dist.all_reduce(value)
        value /= COUNT
    return value


def anyone(wants: bool) -> bool:
    """Whether this holds in any process. All must stop after the same step, or some would wait for others."""
    if COUNT == 1:
        return wants
    answer = torch.tensor(int(wants))
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def lost(problem: RuntimeError) -> bool:
    """Whether an exception means that another process has gone."""
    return COUNT > 1 and ("gloo" in str(problem) or isinstance(problem, dist.DistError))
