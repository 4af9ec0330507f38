"""What every command line of the project does alike: one sentence for bad input, exit code 2, no traceback."""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

LARGEST = 2**63 - 1  # what a 64-bit integer holds


class InputError(Exception):
    """Bad input from outside: one sentence that names the file or the option and says what to do."""


@dataclass(frozen=True)
class Range:
    """The numbers that an option may be: from `least` (or `above`, without it) to `most` (or `below`, without it)."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: float) -> str | None:
        """What is wrong with a number, as `must be …, not …`; None where nothing is."""
        bounds = (("at least", self.least, lambda bound: value >= bound), ("greater than", self.above, lambda bound: value > bound),
                  ("at most", self.most, lambda bound: value <= bound), ("less than", self.below, lambda bound: value < bound))
        known = [(f"{words} {bound}", holds(bound)) for words, bound, holds in bounds if bound is not None]
        try:
            finite = math.isfinite(value)
        except OverflowError:  # a whole number beyond every float
            finite = False
        if finite and all(holds for _, holds in known):
            return None
        return f"must be {' and '.join(words for words, _ in known) or 'a finite number'}, not {value}"


def whole(least: int = 0, most: int = LARGEST) -> Callable[[str], int]:
    """An argument's type: integers from `least` to `most`."""
    return _number(int, "a whole number", Range(least, most))


def real(**bounds: float) -> Callable[[str], float]:
    """An argument's type: finite numbers within these bounds of `Range`."""
    return _number(float, "a number", Range(**bounds))


def _number(kind: Callable[[str], Any], what: str, allowed: Range) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}") from None
        if problem := allowed.problem(value):
            raise argparse.ArgumentTypeError(problem)
        return value
    return parse


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The module's docstring as it is written, and each option's default where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in --help, and with one line instead of the usage for a wrong argument."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        fail(f"{message} (see {self.prog} --help)")


def run_main(main: Callable[[], None]) -> None:
    """Run a program's main. InputError → its sentence on stderr, exit code 2, and so for memory that is not there and for a
    standard output that cannot be written to. Ctrl-C, a polite kill and a closed terminal → exit code 128 + the signal's number,
    after every `finally`."""
    _catch_signals()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names and symbols that the terminal's encoding lacks
    try:
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
        sys.stdout.flush()
    except InputError as problem:
        fail(str(problem))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except OSError as problem:
        if problem.filename is not None:
            fail(f"{problem.filename}: {problem.strerror}")
        if problem.errno not in (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO):
            raise
        fail(f"standard output cannot be written to ({problem.strerror}); send it elsewhere")
    except (MemoryError, RuntimeError) as problem:
        if not out_of_memory(problem):
            raise
        fail("there is not enough memory for this; ask for less (a smaller --batch, --width or --count, say)")
    finally:
        _end_quietly()


def fail(sentence: str) -> NoReturn:
    """`error: …` as one line on stderr, exit code 2. Of several processes that torchrun started, the first that fails
    says why."""
    with contextlib.suppress(OSError):
        if not _another_has_failed():
            print("error: " + " ".join(sentence.splitlines()), file=sys.stderr)
    sys.exit(2)


def _another_has_failed() -> bool:
    """Whether another process of the same torchrun has come here before: only one of them can make a certain folder in
    the place where torchrun collects their errors."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    try:
        if place:
            os.mkdir(os.path.join(os.path.dirname(os.path.dirname(place)), "said"))
    except FileExistsError:
        return True
    except OSError:
        pass
    return False


def out_of_memory(problem: BaseException) -> bool:
    """Whether an exception of Python, of torch's CPU allocator or of a GPU's says that memory has run out."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "invalid shape dimension",
             "Storage size calculation overflowed", "numel: integer multiplication overflow")
    return isinstance(problem, MemoryError) or any(word in str(problem) for word in words)


def _open_closed_streams() -> None:
    """Open what the caller has closed of standard input, output and error, so that no file gets their numbers. An output that was
    closed becomes a pipe that nobody reads: it is an error when something is written to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _end_quietly() -> None:
    """Nothing is left to do: let signals end the interpreter at once while it shuts down, and what cannot be printed go nowhere
    before it tries again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _catch_signals() -> None:
    """Make of signals exceptions, so that files are closed and temporary ones removed. What is ignored (nohup) stays ignored."""
    def leave(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
