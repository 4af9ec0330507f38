"""Reading and writing of files, used by the whole project.

A regular file is written atomically, through a temporary file beside it; a device or pipe is written to
directly; symbolic links are followed. Only regular files are read, since a pipe or a device may never end.
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

# reading the umask means setting it, which is not thread-safe, so it is read once, at import
UMASK = os.umask(0)
os.umask(UMASK)


def write(path: Path, data: bytes | str, tidy: bool = True) -> None:
    """Write a file atomically: a reader sees either the old or the new content, and a failure leaves no
    partial file. The permissions of an existing file are kept. Text is encoded as UTF-8; undecodable bytes in
    file names are written unchanged. Temporary files that a killed process left for the same path are
    removed, unless `tidy` is False (for many files, call `tidy_folder` once instead). Raises InputError if
    the file cannot be written."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    if path.is_dir():
        raise InputError(f"{path} is a folder; choose a file")
    try:
        if _is_stream(path):
            _write_into(path, raw)
        else:
            _replace(Path(os.path.realpath(path)), raw, tidy)
    except OSError as problem:
        raise InputError(f"{path} cannot be written ({problem.strerror}); choose another path") from None


def check_writable(path: Path) -> None:
    """Raises InputError, before any work, if a file cannot be written to `path`."""
    real = Path(os.path.realpath(path))
    if path.is_dir():
        raise InputError(f"{path} is a folder; choose a file")
    if _is_stream(path):
        return
    if not real.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it first")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; choose a writable one")


def make_folder(path: Path) -> None:
    """Create a folder and its parents. Raises InputError if it cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"the folder {path} cannot be created ({problem.strerror}); "
                         "choose another path") from None


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises InputError if it does not exist or is not a regular file (a
    folder, a pipe)."""
    try:
        # non-blocking, so that opening a pipe does not wait for a writer
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is not a regular file")
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as problem:
        raise InputError(f"{path} cannot be read ({problem.strerror})") from None


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8, with or without a byte-order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None


def parse_json(text: str) -> Any:
    """Parse JSON without NaN and infinities. Raises ValueError if the text is not valid."""
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a finite number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError if it does not exist or is not valid JSON."""
    try:
        return parse_json(read_text(path))
    except ValueError as problem:
        raise InputError(f"{path} is damaged ({problem})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that contains an object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (it does not contain a JSON object)")
    return content


@contextlib.contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder for this process. InputError if another process holds the lock; `what` describes it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is in use: {what}; wait for it, or choose another folder") from None
        except OSError:
            pass  # the file system does not support locks
        yield
    finally:
        os.close(handle)


def tidy_folder(folder: Path, prefix: str = ".") -> None:
    """Remove the temporary files that killed processes left in a folder: those that are not locked."""
    for name in glob.glob(glob.escape(os.path.join(folder, prefix)) + "*.part"):
        with contextlib.suppress(OSError):
            handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name)
            finally:
                os.close(handle)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, such as /dev/stdout."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or path.absolute().parts[1] in ("dev", "proc")


def _write_into(path: Path, raw: bytes) -> None:
    # non-blocking, so that a pipe without a reader raises an error (ENXIO) instead of hanging
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
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # marks the file as in use
            file.write(raw)
            file.flush()
            os.chmod(temporary, _mode(path))
            os.replace(temporary, path)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(problem, FileNotFoundError) and path.parent.is_dir():
            # another process removed the temporary file before it was locked
            return _replace(path, raw, tidy)
        raise


def _prefix(path: Path) -> str:
    """The prefix of the temporary files for a path, short enough for any file system."""
    return f".{path.name[:60]}."


def _mode(path: Path) -> int:
    """The permissions of the existing file, else those that open() would give (mkstemp's are always 0600)."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    return 0o666 & ~UMASK
