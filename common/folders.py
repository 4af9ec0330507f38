"""Listing a folder of images: the image files, and the files that are ignored."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli import InputError
from common.pictures import SUFFIXES, is_image

LOOK = 100_000  # maximum number of entries in sub-folders that are searched, to limit the time

Stamp = tuple[str, int, int, int, int]  # name, bytes, mtime, ctime, inode


@dataclass(frozen=True)
class Content:
    """Sorted: a folder's image files, its other files' names, and a summary of images in sub-folders."""

    images: list[Stamp]
    others: list[str]
    below: str


def look(folder: Path) -> Content:
    """List a folder. An image file is recognised by its suffix or its content; hidden files are ignored,
    since they are usually created by programs. Raises InputError if the folder does not exist, or if a name
    with an image suffix is not a file."""
    images: list[Stamp] = []
    others: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = _status(entry)
                if status and stat.S_ISDIR(status.st_mode):
                    folders.append(entry.name)
                elif (status and not entry.name.startswith(".")
                        and (_named_so(entry.name) or is_image(entry.path))):
                    images.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                                   status.st_ino))
                else:
                    others.append(entry.name)
    except OSError as problem:
        raise InputError(f"{folder} cannot be read as a folder ({problem.strerror})") from None
    return Content(sorted(images), sorted(others), _images_below(folder, sorted(folders)))


def say_what_is_passed_over(folder: Path, content: Content) -> None:
    """Report ignored files, if any, as one line on stderr."""
    count = len(content.others)
    parts = ([f"{count} file{'s' * (count > 1)}, hidden or of unsupported format ({_some(content.others)})"]
             if count else [])
    if parts := [*parts, content.below] if content.below else parts:
        print(one_line(f"{folder}: ignored: {'; '.join(parts)}"), file=sys.stderr)


def one_line(text: str) -> str:
    """The text with line breaks, which file names may contain, replaced by spaces."""
    return " ".join(text.splitlines())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _named_so(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The status of a file or folder; None for anything else. Raises InputError if that has an image suffix
    (reading a pipe would never end)."""
    try:
        status = entry.stat()
        reason = (None if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                  else "it is not a regular file")
    except OSError as problem:  # a broken link
        reason = problem.strerror
    if reason and _named_so(entry.name):
        raise InputError(f"{entry.path} cannot be read as an image ({reason}); replace or remove it")
    return None if reason else status


def _images_below(folder: Path, folders: Sequence[str]) -> str:
    """`12 images in sub-folders (a, b/c)`, or "" if there are none."""
    found: list[str] = []
    seen = 0
    for place, inner, names in (step for name in folders if name[0] != "."
                                for step in os.walk(folder / name)):
        inner[:] = sorted(name for name in inner if name[0] != ".")
        found += [os.path.relpath(place, folder)] * sum(map(_named_so, names))
        if (seen := seen + len(names) + len(inner)) > LOOK:
            break
    count = f"{'at least ' * (seen > LOOK)}{len(found)} image{'s' * (len(found) > 1)}"
    return f"{count} in sub-folders ({_some(list(dict.fromkeys(found)))})" if found else ""
