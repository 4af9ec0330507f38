"""Tables: CSV as this project writes it, and tables as people have them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from common.cli import InputError
from common.files import read_bytes

# what the column of names may be called, in small letters; without a name it must be the first
NAMES = ("image_name", "image_id", "imagename", "imageid", "file_name", "filename", "image", "file", "name", "id", "")


def to_csv(rows: Iterable[Sequence[object]]) -> str:
    """CSV with Unix lines."""
    lines: list[str] = []
    # a name with a carriage return needs quotes, and Python before 3.13 sets them only where its own line end has one
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file that are not blank. Names that are not UTF-8 come as `os.fsdecode` gives them."""
    return _split(path, _text(path), ",")


def read_columns(path: Path, wanted: Sequence[str] | None) -> tuple[list[str], dict[str, list[str]]]:
    """The wanted columns (None: all that have a name), and image name → text of these columns. Separated by commas, semicolons or
    tabs, or in the form of CelebA's own lists; no other column is looked at. InputError for a table without the columns, with
    two rows of one name that differ, or with a row that has more values than there are columns."""
    header, *rows = _table(path)
    lower = [column.lower() for column in header]
    place = next((lower.index(name) for name in NAMES if name in lower), None)
    if place is None or (header[place] == "" and place > 0):
        raise InputError(f"{path}: the first line has no column image_name; it should begin image_name,")
    named = [c for i, c in enumerate(header) if c and i != place and not c.startswith("Unnamed:")]  # as pandas calls an index
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
            raise InputError(f"{path}: {cells[place]} has two rows that differ; keep one")
    return columns, found


@cache
def number(text: str) -> float | None:
    """The number in a cell; None where it holds none."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def digit(text: str) -> int | None:
    """The digit from 0 to 9 in a cell, which may be written 7.0; None where it holds none."""
    value = number(text)
    return int(value) if value is not None and value in range(10) else None


def _text(path: Path) -> str:
    """A file's text in UTF-8, or in the UTF-16 of Windows' programs; other bytes as `os.fsdecode` gives them."""
    raw = read_bytes(path)
    if raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    try:
        return raw.decode("utf-16").lstrip("\ufeff")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text") from None


def _split(path: Path, text: str, separator: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if "".join(row).strip()]
    except csv.Error as problem:
        raise InputError(f"{path} is no CSV file ({problem})") from None


def _table(path: Path) -> list[list[str]]:
    """Header, without spaces about its names, and rows."""
    text = _text(path)
    lines = text.lstrip().split("\n", 2)
    if lines[0].strip().isdecimal() and len(lines) > 1:  # CelebA's own form: the number of rows, the attributes, then the rows
        header = ["image_name", *lines[1].split()]
        return [header, *(line.rsplit(None, len(header) - 1) for line in "".join(lines[2:]).split("\n") if line.strip())]
    header, *rows = _split(path, text, max(",;\t", key=lines[0].count)) or [[]]
    return [[column.strip() for column in header], *rows]


def _fitted(path: Path, row: list[str], width: int) -> list[str]:
    """A row of another length than the header. Shorter: what is missing is empty. Longer, as commas at its end make it: cut. Longer
    since a separator is doubled here and there (CelebA's list with a comma for each space): what is not empty."""
    full = [cell for cell in row if cell.strip()]
    if not any(cell.strip() for cell in row[width:]):
        return (row + [""] * width)[:width]
    if len(full) == width:
        return full
    raise InputError(f"{path}: the row of {row[0]} has {len(full)} values for {width} columns")
