"""Conventions of all programs: bad input ends with a one-line error and exit code 2, without a traceback."""

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

LARGEST = 2**63 - 1  # the largest signed 64-bit integer


class InputError(Exception):
    """Bad user input. The message is one sentence that names the file or option and says what to do."""


@dataclass(frozen=True)
class Range:
    """The valid range of a number. `least` and `most` are inclusive, `above` and `below` exclusive."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: float) -> str | None:
        """A message, `must be …, not …`, if a number is out of range, else None."""
        bounds = (("at least", self.least, lambda bound: value >= bound),
                  ("greater than", self.above, lambda bound: value > bound),
                  ("at most", self.most, lambda bound: value <= bound),
                  ("less than", self.below, lambda bound: value < bound))
        known = [(f"{words} {bound}", holds(bound)) for words, bound, holds in bounds if bound is not None]
        try:
            finite = math.isfinite(value)
        except OverflowError:  # an integer too large for a float
            finite = False
        if finite and all(holds for _, holds in known):
            return None
        return f"must be {' and '.join(words for words, _ in known) or 'a finite number'}, not {value}"


def whole(least: int = 0, most: int = LARGEST) -> Callable[[str], int]:
    """An argparse type: integers from `least` to `most`."""
    return _number(int, "a whole number", Range(least, most))


def real(**bounds: float) -> Callable[[str], float]:
    """An argparse type: finite numbers within a `Range` with these bounds."""
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
    """Keeps the line breaks of the description, and appends the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that shows defaults in --help, and reports a wrong argument in one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        fail(f"{message} (see {self.prog} --help)")


def run_main(main: Callable[[], None]) -> None:
    """Run a program's main. InputError, lack of memory and an unwritable standard output end it with one line
    on stderr and exit code 2. SIGINT, SIGTERM and SIGHUP end it with exit code 128 + the signal number, after
    all `finally` clauses have run."""
    _catch_signals()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # for characters missing from the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
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
        fail(f"standard output cannot be written to ({problem.strerror}); redirect it")
    except (MemoryError, RuntimeError) as problem:
        if not out_of_memory(problem):
            raise
        fail("out of memory; use a smaller --batch, --width or --count")
    finally:
        _end_quietly()


def fail(sentence: str) -> NoReturn:
    """Print `error: …` as one line on stderr and exit with code 2. Of several processes started by torchrun,
    only the first to fail prints the error."""
    with contextlib.suppress(OSError):
        if not _another_has_failed():
            print("error: " + " ".join(sentence.splitlines()), file=sys.stderr)
    sys.exit(2)


def _another_has_failed() -> bool:
    """Whether another process of the same torchrun has failed before: only the first can create a certain
    folder next to torchrun's error files."""
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    try:
        if error_file:
            os.mkdir(os.path.join(os.path.dirname(os.path.dirname(error_file)), "said"))
    except FileExistsError:
        return True
    except OSError:
        pass
    return False


def out_of_memory(problem: BaseException) -> bool:
    """Whether an exception of Python, of torch's CPU allocator or of a GPU means that memory is exhausted."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory",
             "invalid shape dimension", "Storage size calculation overflowed",
             "numel: integer multiplication overflow")
    return isinstance(problem, MemoryError) or any(word in str(problem) for word in words)


def _open_closed_streams() -> None:
    """Reopen standard input, output and error if the caller has closed them, so that no other file gets their
    descriptors. A closed output becomes a pipe without a reader, so that writing to it raises an error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _end_quietly() -> None:
    """Prepare a silent shutdown of the interpreter: restore the default signal handlers, and redirect
    unwritable outputs to /dev/null, since the interpreter flushes them once more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _catch_signals() -> None:
    """Raise exceptions for signals, so that files are closed and temporary files removed. Ignored signals
    (nohup) stay ignored."""
    def leave(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
