"""Folder and CSV → uint8 tensors, labels, names; the decoded cache.

Layout: root/digits/<domain>/<split>/00000.png …, root/digits/<domain>/<split>.csv with `image_name,label`; faces likewise below
root/face with attributes.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.cli import InputError
from common.decode import decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
CACHE_FORMAT = b"1"


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W), their files' names, and labels int64 (N,) where they were asked for."""

    images: Tensor
    names: list[str]
    labels: Tensor | None = None


def read_split(root: Path, domain: str, split: str, labelled: bool) -> ImageSet:
    """One split of a digit domain. Without `labelled` the CSV is not opened. InputError where something is missing."""
    folder = root / "digits" / domain / split
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; make it with: python -m scripts.prepare_data --from ORIGINALS --to {root}")
    images, names = read_images(folder)
    return ImageSet(images, names, read_labels(folder.with_suffix(".csv"), names) if labelled else None)


def read_images(folder: Path, size: int = 28, cache: bool = True, square: bool = False) -> tuple[Tensor, list[str]]:
    """All images of a folder, sorted by name: (N, 3, size, size) uint8 and the names. Images of another size are resized, edge to
    edge, or with `square` the square about their centre. Other files are passed over. InputError for a folder that is missing
    or holds no image, and for an image that cannot be read."""
    stamps = listing(folder)
    if not stamps:
        raise InputError(f"{folder} holds no image ({', '.join(SUFFIXES)}); is it the right folder?")
    names = [stamp[0] for stamp in stamps]
    file, key = cache_file(folder, size, square), fingerprint(stamps)
    if cache and (images := _load(file, key, len(names), size)) is not None:
        return torch.from_numpy(images), names
    decoded = decode(folder, names, size, square)
    if isinstance(decoded, tuple):
        raise InputError(f"{decoded[0]} cannot be read as an image ({decoded[1]}); replace or remove it")
    if cache:  # under the key from before the decoding: what changed meanwhile has another one already
        _save(file, key, decoded)
    return torch.from_numpy(decoded), names


def listing(folder: Path) -> list[tuple[str, int, int, int, int]]:
    """(name, bytes, mtime, ctime, inode) of each image file, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries
                     if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")]
    except OSError as problem:
        raise InputError(f"{folder} cannot be read as a folder ({problem.strerror})") from None
    return sorted((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in found)


def fingerprint(stamps: list[tuple[str, int, int, int, int]]) -> bytes:
    """32 bytes that change with any file of the listing. The change time is what no program can set back: a file replaced
    by another of the same size and date has a new one."""
    return hashlib.sha256(CACHE_FORMAT + repr(stamps).encode()).digest()


def cache_file(folder: Path, size: int, square: bool = False) -> Path:
    """Where the decoded images of that folder are kept: $HW3_CACHE, else the user's cache folder."""
    base = os.environ.get("HW3_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hw3"
    return Path(base) / (hashlib.sha256(f"{folder.resolve()} {size}{' square' * square}".encode()).hexdigest()[:24] + ".u8")


def _load(file: Path, key: bytes, count: int, size: int) -> np.ndarray | None:
    """The cached images, or None where there are none, or not of this key, or not whole."""
    try:
        with file.open("rb") as stream:
            if stream.read(32) != key:
                return None
            images = np.fromfile(stream, np.uint8)
    except OSError:
        return None
    return images.reshape(count, 3, size, size) if images.size == count * 3 * size * size else None


def _save(file: Path, key: bytes, images: np.ndarray) -> None:
    """Keep the images if that is possible; a cache that cannot be written is no error."""
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(key)
            images.tofile(stream)
        temporary.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read_labels(table: Path, names: list[str]) -> Tensor:
    """(N,) int64 digits of the named images, from the columns image_name and label."""
    rows = {name: row["label"] for name, row in _rows(table, ["label"], names).items()}
    values = {name: _number(table, name, text) for name, text in rows.items()}
    for name, value in values.items():
        if value not in range(10):
            hint = "; SVHN's own label 10 means 0, which scripts.prepare_data converts" if value == 10 else ""
            raise InputError(f"{table}: the label of {name} is {rows[name]!r}, not a digit{hint}")
    return torch.tensor([int(values[name]) for name in names])


def read_attributes(table: Path, names: list[str]) -> tuple[Tensor, list[str]]:
    """(N, A) uint8 of 0 and 1, and the A columns' names. 1, 1.0 are yes; 0, 0.0, -1 (CelebA's own no) are no."""
    rows = _rows(table, [], names)
    columns = [column for column in next(iter(rows.values())) if column != "image_name"]
    values = [[_number(table, name, rows[name][column]) for column in columns] for name in names]
    for name, row in zip(names, values, strict=True):
        if not set(row) <= {0.0, 1.0, -1.0}:
            raise InputError(f"{table}: an attribute of {name} is neither 0, 1 nor -1; is it the right file?")
    return torch.tensor(values).clamp(min=0).to(torch.uint8), columns


def _number(table: Path, name: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError(f"{table}: the row of {name} has {text!r} where a number should be") from None


def _rows(table: Path, columns: list[str], names: list[str]) -> dict[str, dict[str, str]]:
    """Name → row for each of the names. Rows of absent images are passed over with one sentence on stderr."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # some copies begin with a byte-order mark
            reader = csv.DictReader(file, skipinitialspace=True)
            if missing := [c for c in ["image_name", *columns] if c not in (reader.fieldnames or [])]:
                raise InputError(f"{table}: the first line has no column {missing[0]}; it should begin image_name,")
            every = list(reader)
    except OSError as problem:
        raise InputError(f"{table} cannot be read ({problem.strerror}); it holds the labels of {table.with_suffix('')}"
                         ) from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{table} is no CSV file ({problem})") from None
    rows: dict[str, dict[str, str]] = {}
    for row in every:
        if rows.setdefault(row["image_name"], row) != row:
            raise InputError(f"{table}: {row['image_name']} has two rows that differ; keep one")
    if absent := [name for name in names if name not in rows]:
        raise InputError(f"{table}: {len(absent)} images have no row, {absent[0]} first; add the rows or remove the images")
    if len(rows) > len(names):
        extra = next(name for name in rows if name not in set(names))
        print(f"{table}: {len(rows) - len(names)} rows name images that are not there ({extra} first); they are passed over",
              file=sys.stderr)
    return {name: rows[name] for name in names}


def content_hash(images: Tensor) -> str:
    """SHA-256 (first 16 hexadecimal digits) of decoded images: which data a number was made from."""
    return hashlib.sha256(images.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
