"""Writing CSV files, and reading tables in the formats that are common for image labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from common.cli import InputError
from common.files import read_bytes

# accepted headers of the column of image names, in lower case; with an empty one it must be the first
NAMES = ("image_name", "image_id", "imagename", "imageid", "file_name", "filename", "image", "file", "name",
         "id", "")


def to_csv(rows: Iterable[Sequence[object]]) -> str:
    """CSV with Unix line endings."""
    lines: list[str] = []
    # a carriage return must be quoted, which Python before 3.13 does only if the line terminator contains one
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def read_rows(path: Path) -> list[list[str]]:
    """The non-blank rows of a CSV file. Names that are not UTF-8 are decoded as by `os.fsdecode`."""
    return _split(path, _text(path), ",")


def read_columns(path: Path, wanted: Sequence[str] | None) -> tuple[list[str], dict[str, list[str]]]:
    """The wanted columns (None: all with a header), and a dictionary from image name to the text in these
    columns. The table may be separated by commas, semicolons or tabs, or have the format of CelebA's lists;
    other columns are ignored. Raises InputError if a column is missing, if two rows of one image differ, or
    if a row has more values than columns."""
    header, *rows = _table(path)
    lower = [column.lower() for column in header]
    place = next((lower.index(name) for name in NAMES if name in lower), None)
    if place is None or (header[place] == "" and place > 0):
        raise InputError(f"{path}: the first line has no column image_name; it should begin with image_name,")
    # pandas writes "Unnamed: 0" for an index
    named = [c for i, c in enumerate(header) if c and i != place and not c.startswith("Unnamed:")]
    columns = named if wanted is None else list(wanted)
    for column in columns:
        if (count := header.count(column)) != 1:
            what = f"{count} columns" if count else "no column"
            raise InputError(f"{path} has {what} {column!r}; its columns are {', '.join(header[:50])}")
    places = [header.index(column) for column in columns]
    found: dict[str, list[str]] = {}
    for row in rows:
        cells = row if len(row) == len(header) else _fitted(path, row, len(header))
        values = [cells[p] for p in places]
        if found.setdefault(cells[place], values) != values:
            raise InputError(f"{path}: {cells[place]} has two different rows; keep one")
    return columns, found


@cache
def number(text: str) -> float | None:
    """The number in a cell; None if it is not a number."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def digit(text: str) -> int | None:
    """The digit from 0 to 9 in a cell, also if it is written as 7.0; None if it is not a digit."""
    value = number(text)
    return int(value) if value is not None and value in range(10) else None


def _text(path: Path) -> str:
    """Text of a file in UTF-8 or, with a byte-order mark, UTF-16; undecodable bytes as in `os.fsdecode`."""
    raw = read_bytes(path)
    if raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    try:
        return raw.decode("utf-16").lstrip("\ufeff")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file") from None


def _split(path: Path, text: str, separator: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator)
                if "".join(row).strip()]
    except csv.Error as problem:
        raise InputError(f"{path} is not a CSV file ({problem})") from None


def _table(path: Path) -> list[list[str]]:
    """The header, with surrounding spaces removed from its names, and the rows."""
    text = _text(path)
    lines = text.lstrip().split("\n", 2)
    # CelebA's format: number of rows, attribute names, rows
    if lines[0].strip().isdecimal() and len(lines) > 1:
        header = ["image_name", *lines[1].split()]
        return [header, *(line.rsplit(None, len(header) - 1) for line in "".join(lines[2:]).split("\n")
                          if line.strip())]
    header, *rows = _split(path, text, max(",;\t", key=lines[0].count)) or [[]]
    return [[column.strip() for column in header], *rows]


def _fitted(path: Path, row: list[str], width: int) -> list[str]:
    """Fit a row to the header's length. A short row is padded with empty cells; trailing empty cells are cut.
    If separators are doubled (CelebA's list with each space replaced by a comma), empty cells are dropped."""
    full = [cell for cell in row if cell.strip()]
    if not any(cell.strip() for cell in row[width:]):
        return (row + [""] * width)[:width]
    if len(full) == width:
        return full
    raise InputError(f"{path}: the row of {row[0]} has {len(full)} values for {width} columns")
