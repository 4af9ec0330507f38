"""Readers for CelebA: its aligned images (a folder or a zip, JPEG or PNG, all or some of them) and its lists,
in the formats of the authors (.txt) and of Kaggle (.csv).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from common.cli import InputError
from scripts.places import AGAIN, IMAGES, Missing, Place, decode, find, gather, places, text

NAMES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips",
    "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin",
    "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open",
    "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline",
    "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young"]
# CelebA writes -1 for no; some copies use 0 and 1, or 1.0
VALUES = {sign + number + point: int(number == "1" and sign != "-")
          for sign in ("", "-", "+") for number in "01" for point in ("", ".0")}
PARTITIONS = {"train": "0", "test": "1"}  # CelebA's validation partition is the test split here


@dataclass(frozen=True)
class Faces:
    """One split: the names of the images, their attributes (0 or 1 in each of `columns`), a function from a
    name to an image, (H, W, 3) uint8, and the numbers of listed images that are skipped because the image or
    its attributes are missing."""

    names: list[str]
    columns: list[str]
    rows: list[list[int]]
    image: Callable[[str], np.ndarray]
    no_image: int
    no_row: int


def read_faces(root: Place, split: str, wanted: list[str]) -> Faces:
    """A split's available images, sorted by name, with those of the wanted attributes that the list has."""
    (columns, table), partition, found = gather(
        lambda: read_attributes(root, wanted), lambda: read_partition(root), lambda: find_images(root))
    place, images = found
    named = [stem for stem, part in partition.items() if part == PARTITIONS[split]]
    present = [stem for stem in named if stem in images]
    kept = sorted((PurePosixPath(images[stem]).name, stem) for stem in present if stem in table)
    if not kept:
        partition_name = "training" if split == "train" else "validation"
        raise Missing(f"an image of CelebA's {partition_name} partition with its attributes")
    full = {name: images[stem] for name, stem in kept}
    return Faces([name for name, _ in kept], columns, [table[stem] for _, stem in kept],
                 lambda name: decode(place, full[name]), len(named) - len(present), len(present) - len(kept))


def read_attributes(root: Place, wanted: list[str]) -> tuple[list[str], dict[str, list[int]]]:
    """Those of the wanted attributes that the list contains, and image name without suffix → their values,
    0 or 1."""
    path, header, rows = _list(root, "list_attr_celeba", [])
    columns = [name for name in wanted if name in header]
    if not columns:
        raise InputError(f"{path} has none of the {len(wanted)} attributes ({wanted[0]}, …) in its header; "
                         "is it CelebA's?")
    at, known = ([header.index(name) for name in some if name in header] for some in (columns, NAMES))
    table = {}
    for stem, row in rows:
        # check all known columns, since an invalid value in any of them means that the columns are shifted
        if not VALUES.keys() >= {row[i] for i in known}:
            wrong = next(i for i in known if row[i] not in VALUES)
            raise InputError(f"{path}: {header[wrong]} of {stem} is {row[wrong]!r}, not -1, 0 or 1; download "
                             "CelebA's list again")
        table[stem] = [VALUES[row[i]] for i in at]
    return columns, table


def read_partition(root: Place) -> dict[str, str]:
    """Image name without suffix → its partition: 0 training, 1 validation, 2 test."""
    path, header, rows = _list(root, "list_eval_partition", ["image_id", "partition"])
    at = header.index("partition") if "partition" in header else len(header) - 1
    table = {stem: row[at].removesuffix(".0") for stem, row in rows}
    if wrong := next((stem for stem, part in table.items() if part not in ("0", "1", "2")), None):
        raise InputError(f"{path}: the partition of {wrong} is {table[wrong]!r}, not 0, 1 or 2; download "
                         "CelebA's list again")
    return table


def find_images(root: Place) -> tuple[Place, dict[str, str]]:
    """The place that contains the aligned images, and image name without suffix → path in the place. The
    folder may be nested in one of the same name, and has another name in the authors' PNG edition."""
    for place in places(root, "celeba|align"):
        folders: dict[str, dict[str, str]] = {}
        for name in place.names:
            inside, _, file = f"{place.path.name}/{name}".rpartition("/")
            if re.fullmatch(r"\d{6}\.(jpe?g|png)", file, re.IGNORECASE):
                folders.setdefault(inside, {}).setdefault(file[:6], name)
        # file names in BSDS500 may have six digits too
        named = [inside for inside in folders
                 if re.search("celeba(?!.*/images/(train|val|test)$)", inside, re.IGNORECASE)]
        if named:
            likeliest = max(named, key=lambda inside: ("align" in inside.lower(), len(folders[inside])))
            return place, folders[likeliest]
    raise Missing("img_align_celeba (a folder or img_align_celeba.zip)")


def _list(root: Place, stem: str,
          header: list[str]) -> tuple[Path, list[str], Iterator[tuple[str, list[str]]]]:
    """Path, header and rows of a list, each row with the image name without suffix. `header` is used if the
    list has none."""
    found = find(root, f"celeba|{stem}", stem + ".txt", stem + ".csv")
    if found is None:
        raise Missing(f"{stem}.txt (or .csv)")
    path = found[0].path / found[1]
    rows = _cells(path, [line for line in text(*found).splitlines() if line.strip()])
    first = next(rows, [])
    if first and _name_at(first) is None:
        header, first = first, next(rows, [])
    while header and not header[-1]:
        header = header[:-1]  # a trailing comma
    at = _name_at(first)
    if at is None or not header:
        raise InputError(f"{path} has no rows with image names below a header; download CelebA's list again")
    if at == 0 and len(header) == len(first) - 1:
        header = ["image_id", *header]  # missing in the authors' list
    return path, header, _named(path, chain([first], rows), len(header), at)


def _cells(path: Path, lines: list[str]) -> Iterator[list[str]]:
    """The rows of a table separated by commas, semicolons or blanks, without the line with their number."""
    if lines and lines[0].strip().isdecimal():
        lines = lines[1:]
    separator = next((mark for mark in ",;" if lines and mark in lines[0]), None)
    try:
        for row in csv.reader(lines, delimiter=separator) if separator else map(str.split, lines):
            yield [cell.strip() for cell in row]
    except csv.Error as problem:
        raise InputError(f"{path} is not a table ({problem}); download CelebA's list again") from None


def _named(path: Path, rows: Iterable[list[str]], width: int, at: int) -> Iterator[tuple[str, list[str]]]:
    """Each row with the image name in column `at`, without suffix."""
    for row in rows:
        if len(row) < width or any(row[width:]) or not IMAGES.search(row[at]):
            raise InputError(f"{path}: the row {' '.join(row)[:40]!r} is incomplete ({len(row)} of {width} "
                             f"columns): {AGAIN}")
        yield IMAGES.sub("", row[at]), row


def _name_at(row: list[str]) -> int | None:
    """The index of the column with the image name."""
    return next((at for at, cell in enumerate(row) if IMAGES.search(cell)), None)
