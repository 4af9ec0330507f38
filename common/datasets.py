"""Read folders of images and their tables into tensors, and cache decoded images. The table of a folder is
FOLDER.csv beside it, with the columns image_name and label (digits) or one per attribute (faces)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.cli import InputError
from common.cores import cores
from common.decode import decode
from common.files import make_folder, write
from common.folders import Stamp, look, one_line, say_what_is_passed_over
from common.pictures import WHITE
from common.tables import number, read_columns

CACHE_FORMAT = b"2"
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W), their names and, if requested, labels int64 (N,), indices into `classes`."""

    images: Tensor
    names: list[str]
    labels: Tensor | None = None
    classes: tuple[str, ...] = DIGITS


def table_beside(folder: Path) -> Path:
    """The path of the table of a folder: FOLDER.csv beside it."""
    folder = folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))
    return folder.parent / f"{folder.name}.csv"


def read_images(folder: Path, size: int = 28, cache: bool = True, square: bool = False,
                background: tuple[int, int, int] = WHITE) -> tuple[Tensor, list[str]]:
    """Read all images of a folder, sorted by name: uint8 (N, 3, size, size) and the names; `common.pictures`
    describes how. A line on stderr names files that are skipped. InputError if the folder is missing or has
    no image, or if an image cannot be read."""
    content = look(folder)
    if not content.images:
        raise InputError(f"{folder} holds no image; is it the right folder?"
                         + f" It has {content.below}" * bool(content.below))
    say_what_is_passed_over(folder, content)
    names = [stamp[0] for stamp in content.images]
    file, key = cache_file(folder, size, square, background) if cache else None, fingerprint(content.images)
    if file and (images := _load(file, key, len(names), size)) is not None:
        return torch.from_numpy(images), names
    decoded = decode(folder, names, size, square, background, cores())
    if isinstance(decoded, tuple):
        raise InputError(f"{decoded[0]} cannot be read as an image ({decoded[1]}); replace or remove it")
    if file:  # under the key from before decoding: files changed meanwhile have another key
        _save(file, key, decoded)
    return torch.from_numpy(decoded), names


def listing(folder: Path) -> list[Stamp]:
    """A folder's image files, sorted by name. InputError if anything named like one is no regular file."""
    return look(folder).images


def fingerprint(stamps: list[Stamp]) -> bytes:
    """32 bytes that change with any file of the listing. They include the change time, which no program can
    set back, so a file replaced by one of the same size and date is noticed."""
    return hashlib.sha256(CACHE_FORMAT + repr(stamps).encode()).digest()


def cache_file(folder: Path, size: int, square: bool = False,
               background: tuple[int, int, int] = WHITE) -> Path | None:
    """The file that caches the decoded images of a folder: below $HW3_CACHE, else in the user's cache folder;
    None without a home folder."""
    try:
        base = Path(os.environ.get("HW3_CACHE")
                    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hw3")
    except RuntimeError:  # no $HOME and no entry for this user
        return None
    form = f" {size} {square} {background}".encode()
    return base / (hashlib.sha256(os.fsencode(folder.resolve()) + form).hexdigest()[:24] + ".u8")


def _load(file: Path, key: bytes, count: int, size: int) -> np.ndarray | None:
    """The cached images, or None if the file is missing, incomplete or has another key."""
    try:
        if not file.is_file():  # reading a pipe would never end
            return None
        with file.open("rb") as stream:
            head = stream.read(36)
            images = np.fromfile(stream, np.uint8)
    except OSError:
        return None
    if images.size != count * 3 * size * size or head != key + _checksum(images):
        return None
    return images.reshape(count, 3, size, size)


def _save(file: Path, key: bytes, images: np.ndarray) -> None:
    """Cache the images. Failing to write is not an error."""
    with contextlib.suppress(InputError):
        make_folder(file.parent)
        write(file, b"".join([key, _checksum(images), images.data]))


def _checksum(images: np.ndarray) -> bytes:
    return zlib.crc32(images.data).to_bytes(4, "big")


def read_labels(table: Path, names: list[str], classes: Sequence[str] = DIGITS) -> Tensor:
    """Labels of the named images as indices into `classes`, int64 (N,), from the columns image_name and
    label. InputError if a label is not among the classes."""
    places = {text: place for place, text in enumerate(classes)}
    labels = []
    for name, text in zip(names, _label_texts(table, names), strict=True):
        if text not in places:
            raise InputError(f"{table}: the label of {name} is {text!r}, not {_wanted(text, classes)}")
        labels.append(places[text])
    return torch.tensor(labels)


def _wanted(text: str, classes: Sequence[str]) -> str:
    """What a label should have been, for an error message."""
    if tuple(classes) != DIGITS:
        return f"one of {', '.join(classes[:10])}" + ", …" * (len(classes) > 10)
    hint = "; SVHN's own label 10 means 0, which scripts.prepare_data converts" if text == "10" else ""
    return f"a digit from 0 to 9{hint}"


def read_classes(table: Path, names: list[str]) -> tuple[str, ...]:
    """The distinct labels of the named images, in ascending order if all are numbers, else in alphabetical
    order. InputError if an image has no label or if all labels are the same."""
    texts = _label_texts(table, names)
    if missing := [name for name, text in zip(names, texts, strict=True) if text.lower() in ("", "nan")]:
        raise InputError(f"{table}: {missing[0]} has no label")
    if len(set(texts)) < 2:
        raise InputError(f"{table}: all images have the label {texts[0]!r}; there is nothing to tell apart")
    numbers = all(number(text) is not None for text in set(texts))
    return tuple(sorted(set(texts), key=float if numbers else str))


def _label_texts(table: Path, names: list[str]) -> list[str]:
    """The labels of the named images as text. Whole numbers lose the decimal point that pandas adds to a
    column with gaps."""
    rows, _ = _rows(table, ["label"], names)
    values = [number(text) for text, in rows]
    return [str(int(value)) if value is not None and value.is_integer() else text.strip()
            for (text,), value in zip(rows, values, strict=True)]


def read_attributes(table: Path, names: list[str],
                    wanted: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """Attributes of the named images: (N, A) uint8 of 0 and 1, and the names of the A columns (all, unless
    some are wanted). 1, 1.0 and True mean yes; 0, 0.0, False and -1 (as in CelebA) mean no. InputError if a
    wanted column is missing or a value is something else."""
    rows, columns = _rows(table, wanted, names)
    words = {"true": 1.0, "false": 0.0}  # as pandas writes them
    values = [[words.get(text.strip().lower(), number(text)) for text in row] for row in rows]
    for name, row, texts in zip(names, values, rows, strict=True):
        if not set(row) <= {0.0, 1.0, -1.0}:
            place = next(i for i, value in enumerate(row) if value not in (0.0, 1.0, -1.0))
            raise InputError(f"{table}: {columns[place]} of {name} is {texts[place]!r}, "
                             "and neither 0, 1 nor -1")
    return torch.tensor(values).clamp(min=0).to(torch.uint8), columns


def _rows(table: Path, wanted: Sequence[str] | None, names: list[str]) -> tuple[list[list[str]], list[str]]:
    """The text of the wanted columns for each name, and the names of the columns. Rows of absent images are
    skipped, with one line on stderr."""
    if not table.exists():
        raise InputError(f"{table} is not there; it holds the table of the images in {table.with_suffix('')}")
    columns, found = read_columns(table, wanted)
    if not found.keys() >= set(names):  # some have a space after the comma
        found = {name.strip(): row for name, row in found.items()} | found
    if absent := [name for name in names if name not in found]:
        first = next(iter(found), None)
        raise InputError(f"{table}: {len(absent)} images have no row, {absent[0]} first"
                         + (f" (the first row is of {first})" if first else "")
                         + "; add the rows or remove the images")
    known = set(names)
    if extra := [name for name in found if name not in known]:
        print(one_line(f"{table}: {len(extra)} rows name images that are not there ({extra[0]} first); "
                       "they are passed over"), file=sys.stderr)
    return [found[name] for name in names], columns


def content_hash(images: Tensor) -> str:
    """The first 16 hex digits of the SHA-256 of decoded images. It identifies the data behind a number."""
    return hashlib.sha256(images.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
