"""Several processes, one training: `torchrun --nproc-per-node 4 -m gan.train …`, on one machine or on several.

Every process makes the whole batch from the same random streams, takes its share of it, and DistributedDataParallel
averages the gradients. The first process alone has the run folder and the screen. A process that torchrun has not
started, or started alone, gets everything back unchanged.
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
RANK = int(os.environ["RANK"]) if TORCHRUN else 0  # this process's number,
COUNT = int(os.environ["WORLD_SIZE"]) if TORCHRUN else 1  # of so many
# what the command line of a training begins with
STARTER = f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}" if COUNT > 1 else "python"


def join(device: str) -> str:
    """Meet the other processes. Returns the device's name: every process on a machine has a GPU of its own."""
    if COUNT == 1:
        return device
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} is for one process; torchrun takes cuda (a GPU for each) or cpu")
    if RANK:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the program runs)
    if not dist.is_initialized():
        dist.init_process_group()  # NCCL for what lies on GPUs, gloo for what lies on the CPU
        atexit.register(dist.destroy_process_group)
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    gpu = int(os.environ["LOCAL_RANK"])
    if gpu in range(torch.cuda.device_count()):  # else whoever asks for it says that it is not there
        torch.cuda.set_device(gpu)  # for NCCL and pinned memory, which are not told where
    return f"cuda:{gpu}"


def scratch(resumed: Path | None) -> Path | None:
    """None for the first process, which has the true run folder. For the others one that is thrown away, with the
    checkpoint and the stages of the run that is resumed: they do what the first does, and nobody reads it."""
    if RANK == 0:
        return None
    folder = Path(tempfile.mkdtemp(prefix="hw3-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in (resumed / "last.pt", *resumed.glob("stage-*")) if resumed else ():
        if path.exists():
            shutil.copy(path, folder)
    return folder


def share(whole: Tensor, dim: int = 0) -> Tensor:
    """This process's part of a batch, every COUNT-th sample along `dim`. InputError where some would be left over."""
    if whole.shape[dim] % COUNT:
        raise InputError(f"{whole.shape[dim]} samples of a batch cannot be shared equally among {COUNT} "
                         "processes; choose another --batch")
    return whole.unflatten(dim, (-1, COUNT)).select(dim + 1, RANK) if COUNT > 1 else whole


def own(step: int) -> int:
    """The step of a random stream that this process alone draws from."""
    return step * COUNT + RANK


def parallel(network: T) -> T:
    """The network to train with: the same weights, but their gradients are the mean over all processes, and on GPUs
    BatchNorm takes its statistics from the whole batch. What saves or averages weights keeps the network given."""
    if COUNT == 1:
        return network
    kept = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, kept)
    # part by part, since a method calls them one by one, and not every part in every step
    for name, part in list(network.named_children()):
        weights = list(part.parameters())
        if any(weight.is_cuda for weight in weights):
            part = nn.SyncBatchNorm.convert_sync_batchnorm(part)  # torch has none for the CPU
        if any(weight.requires_grad for weight in weights):
            part = nn.parallel.DistributedDataParallel(part)
            # not to send buffers before each forward pass: there may be two of them before one backward pass
            part.require_forward_param_sync = False
        setattr(network, name, part)
    return network


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of every process's value, for what is not a gradient."""
    if COUNT > 1:
        dist.all_reduce(value)
        value /= COUNT
    return value


def anyone(wants: bool) -> bool:
    """Whether any process wants it: all have to end after the same step, or some would wait for the others."""
    if COUNT == 1:
        return wants
    answer = torch.tensor(int(wants))
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def lost(problem: RuntimeError) -> bool:
    """Whether an exception says that another process has gone."""
    return COUNT > 1 and ("gloo" in str(problem) or isinstance(problem, dist.DistError))
