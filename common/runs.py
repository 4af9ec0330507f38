"""A run folder: options.json, metrics.jsonl, log.txt, last.pt, and all that a training does with them.

The folder is made by `start`, found again by `resume`. `Run.steps` counts the steps of a training, saves the checkpoint now and
then, and ends at Ctrl-C; `Run.log` writes one line to the screen and one record to metrics.jsonl; `Run.save` replaces the
checkpoint in one move, so that a killed training always leaves a whole one.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from common.cli import InputError
from common.files import write_atomically


class Stopped(Exception):
    """Ctrl-C: the checkpoint is saved, and the training ends here."""


@dataclasses.dataclass
class Run:
    """An open run folder. `step` steps of `total_steps` are done, which took `seconds` in earlier sessions; `state` is the
    checkpoint that the training continues from, None at its start."""

    folder: Path
    total_steps: int
    step: int = 0
    seconds: float = 0.0
    state: dict[str, Any] | None = None
    log_every: int = 200
    save_every: int = 500
    tensorboard: Any = None
    interrupted: list[int] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.first_step = self.step

    def steps(self, state: Callable[[], dict[str, Any]], end: int | None = None) -> Iterator[int]:
        """The steps from the present one up to `end` (the whole run's, where none is given). After each, the checkpoint is due
        every `save_every` steps, at the end, and when someone wants to stop; `state` gives its content."""
        end = self.total_steps if end is None else end
        while self.step < end:
            yield self.step
            self.step += 1
            if self.step % self.save_every == 0 or self.step == end or self.interrupted:
                self.save(state())
            if self.interrupted and self.step < self.total_steps:
                raise Stopped

    def state_after(self, step: int) -> dict[str, Any] | None:
        """The checkpoint that the training continues from, if it was made after more than `step` steps: a stage's own."""
        return self.state if self.first_step > step else None

    def log_due(self, step: int) -> bool:
        """Whether the step that is being made is one to report."""
        return (step + 1) % self.log_every == 0 or step + 1 == self.total_steps

    def elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.began

    def log(self, step: int, images_per_step: int, metrics: dict[str, float]) -> None:
        """`metrics` as they stand after `step` steps: a progress line, and a record of metrics.jsonl. InputError where one is
        not finite."""
        if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise InputError(f"{bad[0]} is {metrics[bad[0]]} after {step} steps; try a smaller learning rate")
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

    def save(self, state: dict[str, Any]) -> None:
        """last.pt: the state (tensors and plain values only, so that weights_only=True can read it) after this step."""
        buffer = io.BytesIO()
        torch.save({**state, "step": self.step, "seconds": self.elapsed()}, buffer)
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


def resume(folder: Path, total_steps: int, device: torch.device, tensorboard: bool = False) -> Run:
    """The run of that folder with its checkpoint. Records that a killed session wrote after its checkpoint are dropped."""
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
    writer = _tensorboard(folder) if tensorboard else None
    return Run(folder, total_steps, state["step"], state["seconds"], state, tensorboard=writer)


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
def interruptible(caught: list[int]) -> Iterator[None]:
    """Ctrl-C (and a polite kill) only fills the list, so that the loop can finish its step and save; a second one ends at
    once."""
    def catch(number: int, frame: object) -> None:
        if caught:
            sys.exit(130)
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package of that name: pip install tensorboard") from None
    return SummaryWriter(str(folder))
