"""The one way in which files are written and read.

Written: a regular file is there whole or not at all, through a temporary file beside it; a device or a pipe is written into; a
symbolic link is followed. Read back: regular files only, since anything else may never end.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.cli import InputError

UMASK = os.umask(0)  # it can only be read by setting it, which is for no thread to do later
os.umask(UMASK)


def write(path: Path, data: bytes | str, tidy: bool = True) -> None:
    """Write a file: a reader sees the old content or the new, and a failure leaves nothing behind. The permissions of a file that
    is replaced stay. Text is UTF-8, and file names in it that are not are written as the bytes they are. What a killed program
    left of the same file is removed, unless `tidy` is False: a folder of many files is tidied once, by `tidy_folder`. InputError
    where the file cannot be written."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write")
    try:
        if _is_stream(path):
            _write_into(path, raw)
        else:
            _replace(Path(os.path.realpath(path)), raw, tidy)
    except OSError as problem:
        raise InputError(f"{path} cannot be written ({problem.strerror}); choose a place that exists and is yours") from None


def check_writable(path: Path) -> None:
    """InputError before any work where a file could not be written after it."""
    real = Path(os.path.realpath(path))
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write")
    if _is_stream(path):
        return
    if not real.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; choose one that is yours")


def make_folder(path: Path) -> None:
    """The folder, and those above it. InputError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"the folder {path} cannot be made ({problem.strerror}); choose another place") from None


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. InputError where there is none, or where it is something else (a folder, a pipe)."""
    try:
        # not to wait for someone who writes into a pipe
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is no file that can be read")
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as problem:
        raise InputError(f"{path} cannot be read ({problem.strerror})") from None


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8, with or without a byte-order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None


def parse_json(text: str) -> Any:
    """JSON without NaN and infinities. ValueError where it is none."""
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """What a JSON file holds. InputError where it is not there or damaged."""
    try:
        return parse_json(read_text(path))
    except ValueError as problem:
        raise InputError(f"{path} is damaged ({problem})") from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object with names and values."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (it holds no JSON object)")
    return content


@contextlib.contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder for one process. InputError where another has it: `what` says what that one does."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is in use: {what}; wait for it, or choose another folder") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def tidy_folder(folder: Path, prefix: str = ".") -> None:
    """Remove the temporary files that a killed program left in a folder: those that nobody holds locked."""
    for name in glob.glob(glob.escape(os.path.join(folder, prefix)) + "*.part"):
        with contextlib.suppress(OSError):
            handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name)
            finally:
                os.close(handle)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, /dev/stdout for example."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or path.absolute().parts[1] in ("dev", "proc")


def _write_into(path: Path, raw: bytes) -> None:
    # without waiting: a pipe that nobody reads is an error (ENXIO) and no hang
    with open(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), "wb") as file:
        os.set_blocking(file.fileno(), True)
        file.write(raw)


def _replace(path: Path, raw: bytes, tidy: bool) -> None:
    """Write a temporary file and rename it into place."""
    if tidy:
        tidy_folder(path.parent, _prefix(path))
    handle, temporary = tempfile.mkstemp(".part", _prefix(path), path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is being written
            file.write(raw)
            file.flush()
            os.chmod(temporary, _mode(path))
            os.replace(temporary, path)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(problem, FileNotFoundError) and path.parent.is_dir():
            return _replace(path, raw, tidy)  # another writer took it for a left-over before it was locked
        raise


def _prefix(path: Path) -> str:
    """How the names of a file's temporary files begin, short enough for any file system."""
    return f".{path.name[:60]}."


def _mode(path: Path) -> int:
    """The permissions of the file that is there, else what open() would give (mkstemp makes files for their owner alone)."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    return 0o666 & ~UMASK
