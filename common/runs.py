"""A run folder with options.json, metrics.jsonl, log.txt and last.pt, and the operations of a training on it.

`start` makes the folder, `resume` opens it again. `Run.steps` counts the steps, saves a checkpoint now and
then, and stops at Ctrl-C. `Run.log` prints a progress line and appends a record to metrics.jsonl. `Run.save`
replaces the checkpoint atomically, so a killed training always leaves a complete one.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from common.cli import InputError, out_of_memory
from common.files import make_folder, parse_json, read_bytes, read_object, read_text, write
from common.processes import anyone
from common.weights import load_into, load_tensors, save_tensors

T = TypeVar("T", bound=nn.Module)


class Stopped(Exception):
    """Raised after Ctrl-C, when the checkpoint has been saved."""


@dataclasses.dataclass
class Run:
    """An open run folder. `step` of `total_steps` steps are done; earlier sessions took `seconds`. `state` is
    the checkpoint to continue from, or None."""

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
        self.screen_is_there = True

    def steps(self, parts: dict[str, Any], end: int | None = None) -> Iterator[int]:
        """Iterate over the steps up to `end` (default: the end of the run). The state of `parts` (networks
        and optimisers by name) is saved after the first step of the run, every `save_every` steps, at the
        end, and when the run is interrupted."""
        end = self.total_steps if end is None else end
        while self.step < end:
            yield self.step
            self.step += 1
            stopping = anyone(bool(self.interrupted))
            if self.step % self.save_every == 0 or self.step in (1, end) or stopping:
                self.save({name: part.state_dict() for name, part in parts.items()})
            if stopping and self.step < self.total_steps:
                raise Stopped

    def restore(self, parts: dict[str, Any], begin: int = -1) -> None:
        """Load the checkpoint into the parts, if the run continues from one made after more than `begin`
        steps. InputError if it does not fit."""
        if self.state is None or self.first_step <= begin:
            return
        try:
            for name, part in parts.items():
                part.load_state_dict(self.state[name])
                if isinstance(part, torch.optim.Optimizer):
                    _check_shapes(part)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as problem:
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise InputError(f"{self.folder / 'last.pt'} is not of this training ({name}: {reason}); "
                             "start the run again") from None

    def stage(self, name: str, end: int, network: T, make: Callable[[], T]) -> T:
        """The result of a stage that ends after `end` steps, in evaluation mode. `make` trains it, and it is
        saved in the run folder. A run that is resumed in a later stage loads it into `network` instead.
        InputError if the file is missing."""
        path = self.folder / f"stage-{name}.safetensors"
        if self.first_step <= end:
            made = make()
            save_tensors(path, made)
            return made
        if not path.exists():
            raise InputError(f"{path} is missing, and the run cannot go on without it; start the run again")
        load_into(network, load_tensors(path), path)
        return network.eval()

    def log_due(self, step: int) -> bool:
        """Whether this step is one to report."""
        return (step + 1) % self.log_every == 0 or step + 1 == self.total_steps

    def elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.began

    def log(self, step: int, images_per_step: int, metrics: dict[str, float]) -> None:
        """Report the metrics after `step` steps: a progress line, and a record in metrics.jsonl. InputError
        if a metric is not finite."""
        if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise InputError(f"{bad[0]} is {metrics[bad[0]]} after {step} steps; try a smaller learning rate")
        here = max(time.perf_counter() - self.began, 1e-9)
        done = max(step - self.first_step, 1)
        left = (self.total_steps - step) * here / done
        numbers = "  ".join(f"{name} {value:7.3f}" for name, value in metrics.items())
        self.say(f"{step:>6}/{self.total_steps}  {numbers}  {images_per_step * done / here:6.0f} images/s"
                 f"  {int(left) // 60:3d}:{int(left) % 60:02d} left")
        try:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "seconds": round(self.elapsed(), 1), **metrics}) + "\n")
        except OSError as problem:
            raise InputError(f"{self.folder / 'metrics.jsonl'} cannot be written ({problem.strerror}); "
                             f"make room, then continue with --resume {self.folder}") from None
        if self.tensorboard is not None:
            for name, value in metrics.items():
                self.try_drawing(self.tensorboard.add_scalar, name.replace(" ", "_"), value, step)

    def say(self, line: str) -> None:
        """Write a line to the screen and to log.txt. The training goes on if one is closed or full."""
        if self.screen_is_there:
            try:
                print(line, flush=True)
            except (OSError, ValueError):
                self.screen_is_there = False
                # (for as long as the program runs)
                sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115
                print("standard output cannot be written to; the training goes on, "
                      f"see {self.folder / 'log.txt'}", file=sys.stderr)
        try:
            with (self.folder / "log.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(line + "\n")
        except OSError:
            pass

    def try_drawing(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Draw something that is not essential, such as a sample picture. A failure is reported and does not
        stop the training."""
        try:
            make(*arguments)
        except Exception as problem:  # drawing can raise anything
            if out_of_memory(problem):
                raise
            self.say(f"warning: {type(problem).__name__} while drawing ({problem}); the training goes on")

    def save(self, state: dict[str, Any]) -> None:
        """Save a state (only tensors and plain values: it loads with weights_only=True) as last.pt."""
        buffer = io.BytesIO()
        torch.save({**state, "step": self.step, "seconds": self.elapsed()}, buffer)
        write(self.folder / "last.pt", buffer.getvalue())


def start(folder: Path, options: dict[str, Any], total_steps: int, tensorboard: bool = False) -> Run:
    """Open a new run in that folder. A run that ended before its first checkpoint is started again.
    InputError if the folder holds another run or cannot be made."""
    if (folder / "last.pt").exists():
        raise InputError(f"{folder} holds a run already; continue it with --resume {folder}, "
                         "or name another with --run")
    make_folder(folder)
    writer = _tensorboard(folder, 0) if tensorboard else None
    for name in ("metrics.jsonl", "log.txt"):
        (folder / name).unlink(missing_ok=True)
    write_options(folder, options)
    return Run(folder, total_steps, tensorboard=writer)


def write_options(folder: Path, options: dict[str, Any]) -> None:
    """Write options.json."""
    write(folder / "options.json", json.dumps(options, indent=2) + "\n")


def resume(folder: Path, total_steps: int, device: torch.device, tensorboard: bool = False) -> Run:
    """Open the run in that folder at its checkpoint, or at its beginning if there is none. Records written
    after the checkpoint are dropped."""
    path = folder / "last.pt"
    state = _checkpoint(path, total_steps, device) if path.exists() else None
    step, seconds = (state["step"], state["seconds"]) if state else (0, 0.0)
    kept = [json.dumps(record) for record in read_records(folder) if record["step"] <= step]
    write(folder / "metrics.jsonl", "".join(line + "\n" for line in kept))
    writer = _tensorboard(folder, step) if tensorboard else None
    return Run(folder, total_steps, step, seconds, state, tensorboard=writer)


def _checkpoint(path: Path, total_steps: int, device: torch.device) -> dict[str, Any]:
    """The content of last.pt. InputError if it is not a checkpoint of a run of that many steps."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickles that are not checkpoints
            state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        step, seconds = state["step"], state["seconds"]
        assert isinstance(step, int) and isinstance(seconds, int | float)
    except Exception as problem:  # damaged files raise many types
        raise InputError(f"{path} is damaged ({type(problem).__name__}); start the run again") from None
    if not (0 <= step <= total_steps and 0 <= seconds < math.inf):
        raise InputError(f"{path} is damaged: it says {step} of {total_steps} steps in {seconds} seconds; "
                         "start the run again")
    return state


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl. Invalid lines, such as one cut off by a power failure, are skipped."""
    records = []
    path = folder / "metrics.jsonl"
    for line in read_text(path).splitlines() if path.exists() else []:
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def read_options(folder: Path) -> dict[str, Any]:
    """The options that a run was started with. InputError if the folder is not a run."""
    if not (folder / "options.json").exists():
        raise InputError(f"{folder} is no run folder (options.json is missing); see the folders below runs/")
    return read_object(folder / "options.json")


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The options that differ, as `lr 0.001 -> 0.002, …`; empty if none do."""
    return ", ".join(f"{name} {before.get(name)} -> {now[name]}"
                     for name in now if before.get(name) != now[name])


def new_folder(package: str, name: str) -> Path:
    """Make runs/<package>/<time>-<name> below the current folder, with a number appended if it exists."""
    base = Path("runs") / package
    make_folder(base)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    for number in range(1, 1000):
        folder = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
        except OSError as problem:
            raise InputError(f"the folder {folder} cannot be made ({problem.strerror}); "
                             "name another with --run") from None
    raise InputError(f"{base} holds 999 runs named {stem}; name a folder with --run")


@contextmanager
def interruptible(caught: list[int]) -> Iterator[None]:
    """In this context, SIGINT, SIGTERM and SIGHUP are only noted in the list: the loop can finish its step
    and save. A second signal ends the program at once. Ignored signals (SIGHUP under nohup) stay ignored."""
    def catch(number: int, frame: object) -> None:
        if caught:
            sys.exit(128 + number)
        caught.append(number)

    before = {number: signal.signal(number, catch)
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_shapes(optimiser: torch.optim.Optimizer) -> None:
    """ValueError if the averages of an optimiser do not have the shapes of their weights. The optimiser
    itself does not check."""
    for weight, averages in optimiser.state.items():
        if any(value.shape != weight.shape
               for value in averages.values() if torch.is_tensor(value) and value.dim()):
            raise ValueError("its averages have other shapes than the weights")


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package of that name: pip install tensorboard") from None
    return SummaryWriter(str(folder), purge_step=step)  # hides what was written after the checkpoint
