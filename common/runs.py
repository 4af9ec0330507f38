"""A run folder: options.json, metrics.jsonl, log.txt, last.pt, and all that a training does with them.

The folder is made by `start`, found again by `resume`; `Run.log` writes one line to the screen and one record to metrics.jsonl;
`Run.save` replaces the checkpoint in one move, so that a killed training always leaves a whole one.
"""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from common.cli import InputError
from common.files import write_atomically


@dataclasses.dataclass
class Run:
    """An open run folder; `seconds` counts the training time of all its sessions, and `seen` the images of this one."""

    folder: Path
    total_steps: int
    seconds: float = 0.0
    first_step: int = 0
    tensorboard: Any = None
    began: float = dataclasses.field(default_factory=time.perf_counter)

    def elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.began

    def log(self, step: int, images_per_step: int, metrics: dict[str, float]) -> None:
        """`metrics` as they stand after `step` steps: a progress line, and a record of metrics.jsonl."""
        here = max(time.perf_counter() - self.began, 1e-9)
        done = max(step - self.first_step, 1)
        left = (self.total_steps - step) * here / done
        numbers = "  ".join(f"{name} {value:7.3f}" for name, value in metrics.items())
        self.say(f"{step:>6}/{self.total_steps}  {numbers}  {images_per_step * done / here:6.0f} images/s"
                 f"  {int(left) // 60:3d}:{int(left) % 60:02d} left")
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "seconds": round(self.elapsed(), 1), **metrics}) + "\n")
        if self.tensorboard is not None:
            for name, value in metrics.items():
                self.tensorboard.add_scalar(name.replace(" ", "_"), value, step)

    def say(self, line: str) -> None:
        """A line to the screen and to log.txt."""
        print(line, flush=True)
        with (self.folder / "log.txt").open("a") as file:
            file.write(line + "\n")

    def save(self, step: int, state: dict[str, Any]) -> None:
        """last.pt: the state (tensors and plain values only, so that weights_only=True can read it) after `step` steps."""
        buffer = io.BytesIO()
        torch.save({**state, "step": step, "seconds": self.elapsed()}, buffer)
        write_atomically(self.folder / "last.pt", buffer.getvalue())


def start(folder: Path, options: dict[str, Any], total_steps: int, tensorboard: bool = False) -> Run:
    """Make a new run folder. InputError where it holds a run already or cannot be made."""
    if (folder / "options.json").exists():
        raise InputError(f"{folder} holds a run already; continue it with --resume {folder}, or name another with --run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder} cannot be made ({problem.strerror}); name another folder with --run") from None
    writer = _tensorboard(folder) if tensorboard else None
    write_atomically(folder / "options.json", json.dumps(options, indent=2) + "\n")
    return Run(folder, total_steps, tensorboard=writer)


def resume(folder: Path, total_steps: int, device: torch.device, tensorboard: bool = False) -> tuple[Run, dict[str, Any]]:
    """The run of that folder and its checkpoint. Records that a killed session wrote after its checkpoint are dropped."""
    path = folder / "last.pt"
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: nothing to resume; start the run again without --resume") from None
    except Exception as problem:  # a damaged file raises one of half a dozen types
        raise InputError(f"{path} is damaged ({type(problem).__name__}); start the run again") from None
    metrics = folder / "metrics.jsonl"
    if metrics.exists():
        kept = [line for line in metrics.read_text().splitlines() if json.loads(line)["step"] <= state["step"]]
        write_atomically(metrics, "".join(line + "\n" for line in kept))
    run = Run(folder, total_steps, state["seconds"], state["step"], _tensorboard(folder) if tensorboard else None)
    return run, state


def read_options(folder: Path) -> dict[str, Any]:
    """The options a run was started with. InputError where the folder is no run."""
    try:
        return json.loads((folder / "options.json").read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} is no run folder (options.json is missing); see the folders below runs/") from None
    except json.JSONDecodeError:
        raise InputError(f"{folder / 'options.json'} is damaged; start the run again") from None


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """`lr 0.001 -> 0.002, …`: what differs between two sets of options, empty where nothing does."""
    return ", ".join(f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name])


def new_folder(package: str, name: str) -> Path:
    """runs/<package>/<time>-<name>, below the current folder."""
    return Path("runs") / package / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Ctrl-C (and a polite kill) only fills the list, so that the loop can finish its step and save; a second one ends at
    once."""
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        if caught:
            sys.exit(130)
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package of that name: pip install tensorboard") from None
    return SummaryWriter(str(folder))
