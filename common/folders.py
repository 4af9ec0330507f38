"""What is in a folder of images: the image files, and what is passed over."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli import InputError
from common.pictures import SUFFIXES, is_image

LOOK = 100_000  # files in sub-folders that are looked at, no more, so that nobody waits

Stamp = tuple[str, int, int, int, int]  # name, bytes, mtime, ctime, inode


@dataclass(frozen=True)
class Content:
    """A folder's image files, the names of its other files, and where in its sub-folders images are, all sorted."""

    images: list[Stamp]
    others: list[str]
    below: str


def look(folder: Path) -> Content:
    """What a folder holds. An image file has an image's suffix or an image's content; hidden files are none, since programs leave
    them behind. InputError for a folder that is missing, and for what has an image's name and is no file."""
    images: list[Stamp] = []
    others: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = _status(entry)
                if status and stat.S_ISDIR(status.st_mode):
                    folders.append(entry.name)
                elif status and not entry.name.startswith(".") and (_named_so(entry.name) or is_image(entry.path)):
                    images.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
                else:
                    others.append(entry.name)
    except OSError as problem:
        raise InputError(f"{folder} cannot be read as a folder ({problem.strerror})") from None
    return Content(sorted(images), sorted(others), _images_below(folder, sorted(folders)))


def say_what_is_passed_over(folder: Path, content: Content) -> None:
    """One line on stderr, where something is."""
    count = len(content.others)
    told = [f"{count} file{'s' * (count > 1)}, hidden or in no format that is read ({_some(content.others)})"] if count else []
    if told := [*told, content.below] if content.below else told:
        print(one_line(f"{folder}: passed over: {'; '.join(told)}"), file=sys.stderr)


def one_line(text: str) -> str:
    """Names may hold line ends."""
    return " ".join(text.splitlines())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _named_so(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What the file system says of a file or folder; None for anything else, which no image may be (a pipe would never end)."""
    try:
        status = entry.stat()
        reason = None if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) else "it is no regular file"
    except OSError as problem:  # a link that leads nowhere
        reason = problem.strerror
    if reason and _named_so(entry.name):
        raise InputError(f"{entry.path} cannot be read as an image ({reason}); replace or remove it")
    return None if reason else status


def _images_below(folder: Path, folders: Sequence[str]) -> str:
    """`12 images in sub-folders (a, b/c)`, or nothing."""
    found: list[str] = []
    seen = 0
    for place, inner, names in (step for name in folders if name[0] != "." for step in os.walk(folder / name)):
        inner[:] = sorted(name for name in inner if name[0] != ".")
        found += [os.path.relpath(place, folder)] * sum(map(_named_so, names))
        if (seen := seen + len(names) + len(inner)) > LOOK:
            break
    count = f"{'at least ' * (seen > LOOK)}{len(found)} image{'s' * (len(found) > 1)}"
    return f"{count} in sub-folders ({_some(list(dict.fromkeys(found)))})" if found else ""
