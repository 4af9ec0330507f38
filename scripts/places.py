"""Finding and reading files in the folder of the original data, and in the archives that it contains.

A `Place` is a folder or an archive with all files below it. Metadata files of operating systems and archivers
are ignored. Archives are not unpacked to disk, and no content is ever executed.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from common import files
from common.cli import InputError

ARCHIVES = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
IMAGES = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
# in addition to hidden files, such as macOS's "._*"
JUNK = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, struct.error,
          ValueError)
AGAIN = "it is truncated, damaged or another file; download it again"


class Missing(Exception):
    """An original file does not exist. The message is its name."""


@dataclass(frozen=True)
class Place:
    """A folder or an archive: the files below it, such as "images/train/1.jpg", in the order in which they
    are fastest to read, and a function that reads one of them."""

    path: Path
    names: list[str]
    read: Callable[[str], bytes]

    def has(self, name: str) -> list[str]:
        """All files of that name, regardless of case, sorted by path."""
        return sorted(known for known in self.names if known.rpartition("/")[2].lower() == name.lower())

    def images(self, inside: str) -> list[str]:
        """The JPEGs and PNGs directly in a folder whose path ends in `inside`."""
        pattern = re.compile(rf"(^|/){re.escape(inside)}/[^/]+\.(jpe?g|png)$", re.IGNORECASE)
        return [name for name in self.names if pattern.search(name)]


def folder(root: Path) -> Place:
    """All regular files below a folder. Links are followed; pipes and devices are ignored."""
    names: list[str] = []
    seen = {(os.stat(root).st_dev, os.stat(root).st_ino)}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(root / inside) as entries:
                for entry in entries:
                    if is_junk(entry.name):
                        continue
                    if entry.is_file():
                        names.append(inside + entry.name)
                    elif entry.is_dir() and (key := (entry.stat().st_dev, entry.stat().st_ino)) not in seen:
                        seen.add(key)  # a link may form a cycle
                        waiting.append(f"{inside}{entry.name}/")
        except OSError as problem:
            raise InputError(f"{root / inside} cannot be read as a folder ({problem.strerror}); "
                             "make it readable") from None
    return Place(root, sorted(names), lambda name: files.read_bytes(root / name))


def is_junk(name: str) -> bool:
    return name.startswith(".") or name in JUNK


def places(root: Place, hint: str) -> Iterator[Place]:
    """The folder itself, then the archives in it whose names match `hint`."""
    yield root
    for name in root.names:
        if ARCHIVES.search(name) and re.search(hint + "|archive", name.rpartition("/")[2], re.IGNORECASE):
            path = root.path / name
            yield archive(path, path.stat().st_size, path.stat().st_mtime_ns)


def find(root: Place, hint: str, *names: str) -> tuple[Place, str] | None:
    """The first file with one of these names; within a place, earlier names take precedence."""
    for place in places(root, hint):
        for name in names:
            if found := place.has(name):
                return place, found[0]
    return None


@lru_cache(maxsize=16)
def archive(path: Path, size: int, changed: int) -> Place:
    """A zip or tar archive, without unpacking it to disk. `size` and `changed` (the modification time) are
    part of the cache key."""
    try:
        return _zip(path) if path.suffix.lower() == ".zip" else _tar(path)
    except NotImplementedError:
        raise InputError(f"{path} uses an unsupported compression method; unpack it first") from None
    except DAMAGE as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None


def _zip(path: Path) -> Place:
    content = zipfile.ZipFile(path)
    return _members(path, {i.filename: i for i in content.infolist() if not i.is_dir()}, content.read)


def _tar(path: Path) -> Place:
    content = tarfile.open(path)  # noqa: SIM115  stays open for reading
    lock = threading.Lock()

    def read(member: tarfile.TarInfo) -> bytes:
        with lock:
            return content.extractfile(member).read()  # type: ignore[union-attr]

    return _members(path, {member.name: member for member in content if member.isfile()}, read)


def _members(path: Path, found: dict[str, object], read: Callable) -> Place:
    """The place of an archive, given its members by name and a function that reads a member."""
    members = {str(PurePosixPath(name.replace("\\", "/"))): member for name, member in found.items()}
    kept = [name for name in members if not any(is_junk(part) for part in name.split("/"))]

    def read_named(name: str) -> bytes:
        try:
            return read(members[name])
        except (RuntimeError, NotImplementedError):  # raised by zipfile
            raise InputError(f"{path} is encrypted or uses an unsupported compression method; unpack it "
                             "first") from None
        except DAMAGE:
            raise InputError(f"{path}: {name} cannot be unpacked: {AGAIN}") from None

    return Place(path, kept, read_named)


def gather(*readers: Callable[[], Any]) -> list[Any]:
    """The results of all readers. Raises Missing, with the names of all missing files, if a reader does."""
    results, absent = [], []
    for reader in readers:
        try:
            results.append(reader())
        except Missing as missing:
            absent.append(str(missing))
    if absent:
        raise Missing(", ".join(absent))
    return results


def decode(place: Place, name: str) -> np.ndarray:
    """Decode a JPEG or PNG to (H, W, 3) uint8. Others are refused: some Pillow decoders start programs."""
    path, data = place.path / name, place.read(name)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a JPEG or PNG image; download the original or remove it") from None
    except Exception as problem:  # Pillow raises many types of exceptions
        raise InputError(f"{path} cannot be read as an image ({problem}): {AGAIN}") from None


def text(place: Place, name: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark."""
    data = place.read(name)
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{place.path / name} is not UTF-8 text; download the original") from None


def unzipped(path: Path, data: bytes) -> bytes:
    """The content of a file, decompressed if it is a gzip file. (Browsers may decompress a .gz file and keep
    its name.)"""
    try:
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except DAMAGE as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None
