"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from common.cli import InputError


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write through a temporary file in the same folder and rename it into place: a reader sees the old content or the new, and
    a failure leaves nothing behind. InputError where the folder is missing or cannot be written to."""
    raw = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        # mkstemp makes files for their owner alone; give what open() would have given
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as problem:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise InputError(f"{path} cannot be written ({problem.strerror}); choose a folder that exists and is yours") from None
