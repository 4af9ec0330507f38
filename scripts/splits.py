"""Writing a split of the course's layout: a folder of numbered PNGs, a CSV, and a note that identifies the
source data."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from common import files
from common.cli import InputError
from common.cores import cores


@dataclass(frozen=True)
class Split:
    """A split's content: `count` images, image(index); the CSV's columns after the name, and its rows;
    `mark`, a hash of the source data; a summary for the user; and how digits are blended (MNIST-M only)."""

    count: int
    image: Callable[[int], Image.Image]
    columns: list[str]
    rows: list[list[int]]
    mark: str
    summary: str
    blend: str | None = None


@contextlib.contextmanager
def building(to: Path) -> Iterator[None]:
    """Create the folder if needed, lock it for this process, and remove it if it is new and stays empty."""
    new = not to.exists()
    files.make_folder(to)
    try:
        with files.only_one(to, "another prepare_data is writing to it"):
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):
                to.rmdir()


def write_split(home: Path, split: str, made: Split) -> None:
    """Write home/split/00000.png … and home/split.csv. A note identifies the source data, so that images from
    different sources are not mixed or overwritten. Existing images from the same source are kept."""
    images, note = home / split, home / f".{split}.json"
    files.make_folder(images)
    _claim(home, images, note, made)
    files.tidy_folder(images)
    names = [f"{index:05}.png" for index in range(made.count)]
    with os.scandir(images) as entries:
        # after a power failure, a file may be empty
        present = {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}
    todo = [index for index, name in enumerate(names) if name not in present]

    def draw(index: int) -> None:
        buffer = io.BytesIO()
        made.image(index).save(buffer, "PNG", compress_level=1)
        # atomic: a file of this name is complete
        files.write(images / names[index], buffer.getvalue(), tidy=False)

    pool = ThreadPoolExecutor(cores())
    try:
        for _ in progress(pool.map(draw, todo), len(todo), f"{home.name} {split}"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [["image_name", *made.columns], *([name, *row] for name, row in zip(names, made.rows, strict=True))])
    files.write(home / f"{split}.csv", table.getvalue())


def _claim(home: Path, images: Path, note: Path, made: Split) -> None:
    """Write the note, unless it exists. Raises InputError if the images were made from other data."""
    remedy = f"remove {home} or choose another --to"
    if not os.path.lexists(note):
        if any(not name.startswith(".") for name in os.listdir(images)):
            raise InputError(f"{images} already contains files, but no note that identifies their source; "
                             f"{remedy}")
        files.write(note, json.dumps({"made_from": made.mark}
                                     | ({"blend": made.blend} if made.blend else {})) + "\n")
        return
    try:
        before = files.read_object(note)
    except InputError as problem:
        raise InputError(f"{problem}; {remedy}") from None
    if not isinstance(before.get("made_from"), str):
        raise InputError(f"{note} is damaged (it does not identify the source of the images); {remedy}")
    if before.get("blend") != made.blend:
        raise InputError(f"{images} contains digits that an older version blended with their grey levels, "
                         "while the published MNIST-M binarises them first: results on the two differ; "
                         f"{remedy}")
    if before["made_from"] != made.mark:
        raise InputError(f"{images} contains images made from other originals or with another seed; {remedy}")


def progress(steps: Iterable[None], total: int, name: str) -> Iterable[None]:
    """A progress bar, shown only on a terminal and if there is anything to do."""
    return tqdm(steps, total=total, desc=name, unit="image", disable=None if total else True, leave=False)
