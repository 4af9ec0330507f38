"""Grids of faces as JPEG or PNG, and loss curves. Only the curves import matplotlib."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

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


def draw_losses(folder: Path, names: tuple[str, ...]) -> None:
    """losses.png of a run folder, from its metrics.jsonl."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for name in names:
        axes.plot([record["step"] for record in records], [record[name] for record in records], label=name, linewidth=1)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    pyplot.close(figure)
    write_atomically(folder / "losses.png", buffer.getvalue())
