"""Finding files in the folder of the originals, and in archives there, and reading them.

A `Place` is a folder or an archive, and the files below it. What operating systems and archivers leave beside files is passed
over. Nothing is unpacked to the disk, and nothing that is found is ever executed.
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
# beside hidden files, macOS's "._*" among them
JUNK = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError)
AGAIN = "it is cut short, damaged or something else; fetch it again"


class Missing(Exception):
    """An original that is not there: its name."""


@dataclass(frozen=True)
class Place:
    """A folder or an archive: the files below it, as "images/train/1.jpg", in the order in which they are best read; and a
    function that reads one of them."""

    path: Path
    names: list[str]
    read: Callable[[str], bytes]

    def has(self, name: str) -> list[str]:
        """Every file of that name, in upper or lower case, sorted by path."""
        return sorted(known for known in self.names if known.rpartition("/")[2].lower() == name.lower())

    def images(self, inside: str) -> list[str]:
        """The JPEGs and PNGs that lie directly in a folder whose path ends so."""
        pattern = re.compile(rf"(^|/){re.escape(inside)}/[^/]+\.(jpe?g|png)$", re.IGNORECASE)
        return [name for name in self.names if pattern.search(name)]


def folder(root: Path) -> Place:
    """Every file below a folder. Links are followed; pipes and devices, which could not be read to an end, are no files."""
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
                        seen.add(key)  # a link may lead back up
                        waiting.append(f"{inside}{entry.name}/")
        except OSError as problem:
            raise InputError(f"{root / inside} cannot be read as a folder ({problem.strerror}); make it readable") from None
    return Place(root, sorted(names), lambda name: files.read_bytes(root / name))


def is_junk(name: str) -> bool:
    return name.startswith(".") or name in JUNK


def places(root: Place, hint: str) -> Iterator[Place]:
    """The folder itself, then the archives in it whose names match the hint."""
    yield root
    for name in root.names:
        if ARCHIVES.search(name) and re.search(hint + "|archive", name.rpartition("/")[2], re.IGNORECASE):
            path = root.path / name
            yield archive(path, path.stat().st_size, path.stat().st_mtime_ns)


def find(root: Place, hint: str, *names: str) -> tuple[Place, str] | None:
    """Where the first of these names is, the earlier ones first."""
    for place in places(root, hint):
        for name in names:
            if found := place.has(name):
                return place, found[0]
    return None


@lru_cache(maxsize=16)
def archive(path: Path, size: int, changed: int) -> Place:
    """A zip or tar archive; nothing is unpacked to the disk. Size and time of change: what is kept of another file is not used."""
    try:
        return _zip(path) if path.suffix.lower() == ".zip" else _tar(path)
    except NotImplementedError:
        raise InputError(f"{path} is packed by a method that is not known here; unpack it first") from None
    except DAMAGE as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None


def _zip(path: Path) -> Place:
    content = zipfile.ZipFile(path)
    return _members(path, {i.filename: i for i in content.infolist() if not i.is_dir()}, content.read)


def _tar(path: Path) -> Place:
    content = tarfile.open(path)  # noqa: SIM115  kept open, to be read from
    one_at_a_time = threading.Lock()

    def read(member: tarfile.TarInfo) -> bytes:
        with one_at_a_time:
            return content.extractfile(member).read()  # type: ignore[union-attr]

    return _members(path, {member.name: member for member in content if member.isfile()}, read)


def _members(path: Path, found: dict[str, object], read: Callable) -> Place:
    """The place of an archive: member by name, and what reads a member."""
    members = {str(PurePosixPath(name.replace("\\", "/"))): member for name, member in found.items()}
    kept = [name for name in members if not any(is_junk(part) for part in name.split("/"))]

    def read_named(name: str) -> bytes:
        try:
            return read(members[name])
        except (RuntimeError, NotImplementedError):  # as zipfile says it
            raise InputError(f"{path} is encrypted, or packed by a method that is not known here; unpack it first") from None
        except DAMAGE:
            raise InputError(f"{path} has no whole {name}: {AGAIN}") from None

    return Place(path, kept, read_named)


def gather(*readers: Callable[[], Any]) -> list[Any]:
    """What each reader returns. Missing, with all that is missing, where one or more find nothing."""
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
    """(H, W, 3) uint8 of a JPEG or PNG. Other formats are not even tried: some of Pillow's readers start programs."""
    path, data = place.path / name, place.read(name)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(f"{path} is no JPEG or PNG image; fetch the publisher's own, or remove it") from None
    except Exception as problem:  # Pillow raises many types
        raise InputError(f"{path} cannot be read as an image ({problem}): {AGAIN}") from None


def text(place: Place, name: str) -> str:
    """A table's text, with or without a byte-order mark."""
    data = place.read(name)
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{place.path / name} is not text in UTF-8; fetch the publisher's own") from None


def unzipped(path: Path, data: bytes) -> bytes:
    """The content of a file that may be packed by gzip: browsers unpack some, and leave the .gz in the name."""
    try:
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except DAMAGE as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None
