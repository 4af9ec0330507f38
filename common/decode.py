"""Decode image files to one uint8 array, on several cores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from common import pictures
from common.pictures import WHITE, picture

# minimum number of images per process; for fewer, starting another process takes longer than it saves
SHARE = 1000

Colour = tuple[int, int, int]


def decode(folder: Path, names: list[str], size: int, square: bool = False, background: Colour = WHITE,
           workers: int = 1) -> np.ndarray | tuple[str, str]:
    """(N, 3, size, size) uint8, decoded by this process and up to `workers` - 1 others; or the first path
    that cannot be read and the reason. Processes are used rather than threads, which block each other in
    Pillow on small images."""
    paths = [os.path.join(folder, name) for name in names]
    images = np.empty((len(paths), size, size, 3), np.uint8)
    parts = max(1, min(workers, len(paths) // SHARE))
    first, *others = [slice(len(paths) * part // parts, len(paths) * (part + 1) // parts)
                      for part in range(parts)]
    helpers: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(parts) as pool:
        try:
            with contextlib.suppress(OSError):  # if a process cannot be started, this one decodes its images
                helpers.extend(_start(size, square, background) for _ in others)
            received = [pool.submit(_receive, helper, paths[share], images[share])
                        for helper, share in zip(helpers, others, strict=False)]
            problem = _fill(images[first], paths[first], size, square, background)
            for index, share in enumerate(others):
                if problem is None:
                    done = received[index].result() if index < len(received) else 0
                    # the rest of a helper that was killed or met an image that cannot be read
                    problem = _fill(images[share][done:], paths[share][done:], size, square, background)
        finally:
            for helper in helpers:
                helper.kill()
    return problem or np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _fill(images: np.ndarray, paths: list[str], size: int, square: bool,
          background: Colour) -> tuple[str, str] | None:
    """Decode in this process. Returns the first path that cannot be read and the reason, or None."""
    for index, path in enumerate(paths):
        try:
            images[index] = picture(path, size, square, background)
        except Exception as problem:  # for damaged files, Pillow raises many types of exceptions
            return path, getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return None


def _start(size: int, square: bool, background: Colour) -> subprocess.Popen[bytes]:
    """Start a process that runs `common.pictures`. It imports only from the standard library and the folders
    of Pillow and numpy, never from the working directory or PYTHONPATH, and ends with this process."""
    places = sorted({str(Path(file).parent.parent) for file in (PIL.__file__, np.__file__) if file})
    arguments = [str(size), "square" if square else "", "#{:02x}{:02x}{:02x}".format(*background), *places]
    return subprocess.Popen([sys.executable, "-I", "-S", pictures.__file__, *arguments],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _receive(helper: subprocess.Popen[bytes], paths: list[str], images: np.ndarray) -> int:
    """Send the paths to a helper and receive its images into `images`. Returns the number received."""
    with contextlib.suppress(OSError), helper as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
        process.stdin.close()
        with process.stdout as pipe:
            return pipe.readinto(images.reshape(-1).data) // images[0].nbytes  # type: ignore[attr-defined]
    return 0
