"""Grids of faces as JPEG or PNG, and loss curves. Only the curves import matplotlib."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.cli import InputError
from common.files import write_atomically

PADDING = 2


def add_arguments(parser: argparse.ArgumentParser, name: str, weights: Path) -> argparse._MutuallyExclusiveGroup:
    """What every program takes that draws from a generator. Returns the group of its outputs, one of which is required."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", type=Path, metavar="OUT_DIR", help=f"write {name} there (or the file itself, .jpg or .png)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--weights", type=Path, default=weights, help="another generator than the released one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return what


def grid(images: Tensor, per_row: int) -> Image.Image:
    """(N, 3, H, W) uint8 → one picture, `per_row` a row, 2 black pixels around each."""
    count, _, height, width = images.shape
    rows = -(-count // per_row)
    canvas = np.zeros((rows * (height + PADDING) + PADDING, per_row * (width + PADDING) + PADDING, 3), np.uint8)
    for index, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy()):
        row, column = divmod(index, per_row)
        top, left = PADDING + row * (height + PADDING), PADDING + column * (width + PADDING)
        canvas[top:top + height, left:left + width] = image
    return Image.fromarray(canvas)


def save_picture(path: Path, picture: Image.Image) -> None:
    """PNG or JPEG by the name's ending; JPEG at quality 95 with full colour resolution. Whole or not at all."""
    buffer = io.BytesIO()
    if path.suffix.lower() == ".png":
        picture.save(buffer, "PNG")
    elif path.suffix.lower() in (".jpg", ".jpeg"):
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        raise InputError(f"{path} is neither .jpg nor .png; name a file that is")
    write_atomically(path, buffer.getvalue())


def figure_path(argument: Path, name: str) -> Path:
    """Graders name a folder, in which the figure gets its name, or (in other years) the file itself. InputError before any work
    where it could not be written after it."""
    path = argument if argument.suffix.lower() in (".jpg", ".jpeg", ".png") else argument / name
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write, or the folder that it is to lie in")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    return path


def save_faces(folder: Path, images: Tensor) -> None:
    """(N, 3, H, W) uint8 → folder/00000.png …; the folder is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder} cannot be made ({problem.strerror}); name another folder") from None
    for index, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        save_picture(folder / f"{index:05}.png", Image.fromarray(image))


def walk(z: Tensor, steps: int) -> Tensor:
    """(K, D) noise vectors → (steps, D), evenly along the great arcs from each to the next: straight lines would pass through
    vectors shorter than any noise."""
    place = torch.linspace(0, len(z) - 1, steps)
    begin = place.long().clamp(max=len(z) - 2)
    a, b, t = z[begin], z[begin + 1], (place - begin)[:, None]
    angle = torch.acos(torch.cosine_similarity(a, b, 1))[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def save_walk(path: Path, images: Tensor) -> None:
    """A strip (.png, .jpg: 10 a row) or a moving picture (.gif) of the images."""
    if path.suffix.lower() != ".gif":
        save_picture(path, grid(images, 10))
        return
    frames = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy()]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=60, loop=0)
    write_atomically(path, buffer.getvalue())


@contextlib.contextmanager
def chart(path: Path, inches: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """`with chart(path, inches) as (figure, axes)`: a PNG of a chart, 3.6 inches being a printed column; whole or not at all.
    InputError where it cannot be written."""
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
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as problem:
        raise InputError(f"{path} cannot be written ({problem.strerror}); name another file") from None


def read_curve(folder: Path) -> dict[str, list[float]]:
    """What a run folder's metrics.jsonl says of every step that was logged: {"step": […], "D loss": […], …}."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {name: [record[name] for record in records] for name in records[0]} if records else {}


def draw_losses(path: Path, curve: dict[str, list[float]], title: str) -> None:
    """The losses in a curve, both networks' and where there is one the class's."""
    names = {"D loss": "discriminator", "G loss": "generator", "class": "class, of generated faces"}
    with chart(path, (3.6, 2.2)) as (figure, axes):
        for (name, text), colour in zip(names.items(), ("#0072B2", "#E69F00", "#009E73"), strict=True):
            if name in curve:
                axes.plot(curve["step"], curve[name], label=text, linewidth=0.8, color=colour)
        axes.set(xlabel="step", ylabel="loss", title=title)
        figure.legend(loc="outside right center", frameon=False)
