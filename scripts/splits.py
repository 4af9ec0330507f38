"""Writing one split of the course's layout: a folder of numbered PNGs, a CSV, and a note of what they are made from."""

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
    """What one split is made of: image(index) for `count` images, the CSV's columns beside the name and its rows, a mark of the
    originals that it is made from, how digits are blended (MNIST-M alone), and a line for the user."""

    count: int
    image: Callable[[int], Image.Image]
    columns: list[str]
    rows: list[list[int]]
    mark: str
    summary: str
    blend: str | None = None


@contextlib.contextmanager
def building(to: Path) -> Iterator[None]:
    """The folder to build, made if need be and held for this process alone. It goes again if nothing is put into it."""
    new = not to.exists()
    files.make_folder(to)
    try:
        with files.only_one(to, "another prepare_data builds it"):
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):
                to.rmdir()


def write_split(home: Path, split: str, made: Split) -> None:
    """home/split/00000.png … and home/split.csv. A note says what the images are made from: a folder that was made from something
    else is not mixed with, and not overwritten."""
    images, note = home / split, home / f".{split}.json"
    files.make_folder(images)
    _claim(home, images, note, made)
    files.tidy_folder(images)
    names = [f"{index:05}.png" for index in range(made.count)]
    with os.scandir(images) as entries:
        present = {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}  # empty: after a power failure
    todo = [index for index, name in enumerate(names) if name not in present]

    def draw(index: int) -> None:
        buffer = io.BytesIO()
        made.image(index).save(buffer, "PNG", compress_level=1)
        files.write(images / names[index], buffer.getvalue(), tidy=False)  # what has the right name is whole

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
    """Write the note, unless it is there. InputError where the images are made from something else."""
    remedy = f"remove {home} or choose another --to"
    if not os.path.lexists(note):
        if any(not name.startswith(".") for name in os.listdir(images)):
            raise InputError(f"{images} holds files already, and no note of what they were made from; {remedy}")
        files.write(note, json.dumps({"made_from": made.mark} | ({"blend": made.blend} if made.blend else {})) + "\n")
        return
    try:
        before = files.read_object(note)
    except InputError as problem:
        raise InputError(f"{problem}; {remedy}") from None
    if not isinstance(before.get("made_from"), str):
        raise InputError(f"{note} is damaged (it does not say what the images are made from); {remedy}")
    if before.get("blend") != made.blend:
        raise InputError(f"{images} holds digits that an older version blended in their grey levels, while the published MNIST-M "
                         f"binarises them first: results on the two differ; {remedy}")
    if before["made_from"] != made.mark:
        raise InputError(f"{images} holds images made from other originals or with another seed; {remedy}")


def progress(steps: Iterable[None], total: int, name: str) -> Iterable[None]:
    """A bar on a terminal, silence elsewhere and where nothing is left to do."""
    return tqdm(steps, total=total, desc=name, unit="image", disable=None if total else True, leave=False)
