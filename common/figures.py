"""Pictures of faces: grids (JPEG or PNG), folders of single faces and interpolations; and loss curves. Only
the curves need matplotlib."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.cli import InputError, whole
from common.files import check_writable, make_folder, tidy_folder, write
from common.pictures import SUFFIXES

PADDING = 2
PICTURES = (".jpg", ".jpeg", ".png")
MOST = 100_000  # maximum number of faces in a folder: their names have five digits
PART = 500  # number of faces generated and written at a time
LONGEST = 65_500  # maximum height and width of a JPEG in pixels


def add_arguments(parser: argparse.ArgumentParser, name: str,
                  weights: Path) -> argparse._MutuallyExclusiveGroup:
    """Add the arguments common to programs that sample from a generator. Returns the group of the outputs,
    one of which is required."""
    outputs = parser.add_mutually_exclusive_group(required=True)
    outputs.add_argument("--figure", type=Path, metavar="OUT_DIR",
                         help=f"folder to which {name} is written (or the name of the file, .jpg or .png)")
    parser.add_argument("--seed", type=whole(), default=0, help="random seed of the noise")
    parser.add_argument("--weights", type=Path, default=weights, help="weights of the generator")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return outputs


def grid(images: Tensor, per_row: int) -> Image.Image:
    """(N, 3, H, W) uint8 → one picture, `per_row` images per row, each with a black border of 2 pixels."""
    count, _, height, width = images.shape
    rows = -(-count // per_row)
    canvas = np.zeros((rows * (height + PADDING) + PADDING, per_row * (width + PADDING) + PADDING, 3),
                      np.uint8)
    for index, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy()):
        row, column = divmod(index, per_row)
        top, left = PADDING + row * (height + PADDING), PADDING + column * (width + PADDING)
        canvas[top:top + height, left:left + width] = image
    return Image.fromarray(canvas)


def save_picture(path: Path, picture: Image.Image, tidy: bool = True) -> None:
    """Write a PNG or a JPEG, by the suffix; JPEG at quality 95 without chroma subsampling. The file is
    written atomically; `tidy` as in `common.files.write`."""
    check_picture(path)
    buffer = io.BytesIO()
    if path.suffix.lower() == ".png":
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    write(path, buffer.getvalue(), tidy)


def check_picture(path: Path, *others: str) -> None:
    """Raises InputError, before any work, if a picture cannot be written to `path`. `others`: further
    suffixes to allow."""
    *endings, last = (*PICTURES, *others)
    if path.suffix.lower() not in (*endings, last):
        raise InputError(f"{path} does not end in {', '.join(endings)} or {last}")
    check_writable(path)


def figure_path(argument: Path, name: str) -> Path:
    """The path of a figure, given its folder or (as in other years of the course) the file itself. Raises
    InputError, before any work, if it cannot be written."""
    is_file = argument.exists() or argument.suffix.lower() in PICTURES
    path = argument if is_file and not argument.is_dir() else argument / name
    check_picture(path)
    return path


def check_faces(folder: Path, count: int) -> None:
    """Raises InputError, before any work, if `count` faces cannot be written to a folder, or if it contains
    other images, which would be mistaken for part of the set. Faces of the same names are overwritten."""
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file; choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"the folder {above} cannot be written to; choose a writable one")
    names = {face_name(index) for index in range(count)}
    others = [path.name for path in sorted(folder.glob("[!.]*"))
              if path.suffix.lower() in SUFFIXES and path.name not in names]
    if others:
        raise InputError(f"{folder} contains other images ({len(others)}, {others[0]} first); empty it or "
                         "choose another")


def save_faces(folder: Path, images: Tensor, first: int = 0) -> None:
    """Create the folder and write images, uint8 (N, 3, H, W) on the CPU, to 00000.png …, from `first` on."""
    make_folder(folder)
    tidy_folder(folder)
    for index, image in enumerate(images.permute(0, 2, 3, 1).numpy(), first):
        save_picture(folder / face_name(index), Image.fromarray(image), tidy=False)


def face_name(index: int) -> str:
    return f"{index:05}.png"


def walk(z: Tensor, steps: int) -> Tensor:
    """(K, D) noise vectors → (steps, D), spherical linear interpolation (slerp) from each vector to the next.
    On a straight line, the vectors in the middle would be much shorter than noise is."""
    place = torch.linspace(0, len(z) - 1, steps)
    begin = place.long().clamp(max=len(z) - 2)
    a, b, t = z[begin], z[begin + 1], (place - begin)[:, None]
    angle = torch.acos(torch.cosine_similarity(a, b, 1))[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def check_height(path: Path, count: int, columns: int, size: int) -> None:
    """Raises InputError, before any work, if no JPEG can be high enough for a grid of `count` such images."""
    height = -(-count // columns) * (size + PADDING) + PADDING
    if path.suffix.lower() in (".jpg", ".jpeg") and height > LONGEST:
        raise InputError(f"{path}: a JPEG is at most {LONGEST} pixels high, and {count} images need "
                         f"{height}; use .png")


def save_walk(path: Path, images: Tensor) -> None:
    """Write images, uint8 (N, 3, H, W), as a grid (.png or .jpg, 10 per row) or an animation (.gif)."""
    if path.suffix.lower() != ".gif":
        save_picture(path, grid(images, 10))
        return
    frames = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy()]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=60, loop=0)
    write(path, buffer.getvalue())


@contextlib.contextmanager
def chart(path: Path, inches: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """`with chart(path, inches) as (figure, axes)`: a matplotlib figure, written atomically as PNG. A printed
    column is 3.6 inches wide. Raises InputError if it cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 7, "axes.titlesize": 7, "axes.linewidth": 0.6}):
        figure, axes = pyplot.subplots(figsize=inches, layout="constrained")
        try:
            yield figure, axes
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=300, format="png")
        finally:
            pyplot.close(figure)
    write(path, buffer.getvalue())


def curve(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """A run's metrics.jsonl as columns: {"step": […], "D loss": […], …}, for the names in all records."""
    names = [name for name in records[0] if all(name in record for record in records)] if records else []
    return {name: [record[name] for record in records] for name in names}


def draw_losses(path: Path, values: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw the losses in the columns of `curve`: those of both networks and, for an ACGAN, the class loss."""
    names = {"D loss": "discriminator", "G loss": "generator", "class": "class, of generated faces"}
    with chart(path, (3.6, 2.2)) as (figure, axes):
        for (name, text), colour in zip(names.items(), ("#0072B2", "#E69F00", "#009E73"), strict=True):
            if name in values:
                axes.plot(values["step"], values[name], label=text, linewidth=0.8, color=colour)
        axes.set(xlabel="step", ylabel="loss", title=title)
        if axes.has_data():  # nothing is logged in the first 200 steps
            figure.legend(loc="outside right center", frameon=False)
