"""Image files → one uint8 array. Imports numpy and Pillow only, since every worker process starts with this module."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

FEW = 3000  # fewer images than this are decoded sooner than a second process has started


def decode_one(path: str, size: int, square: bool = False) -> np.ndarray:
    """(size, size, 3) uint8. Grey is repeated, a palette looked up, transparency dropped (the colours below it are the image
    in every known copy of the data), 16-bit grey scaled down; another size is resized with antialiasing, edge to edge or, with
    `square`, from the largest square about the centre."""
    with warnings.catch_warnings(), Image.open(path) as file:
        warnings.simplefilter("ignore")  # about transparency in palettes
        # convert("RGB") would clip 16 bits to 255 instead of scaling them
        deep = file.mode.startswith("I")
        picture = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)) if deep else file
        picture = picture.convert("RGB")
    if picture.size != (size, size):
        width, height = picture.size
        half = min(width, height) / 2
        box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half) if square else None
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box)
    return np.asarray(picture)


def decode_chunk(paths: list[str], size: int, square: bool = False) -> np.ndarray | tuple[str, str]:
    """(N, 3, size, size) uint8, or the first path that cannot be read and the reason."""
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for index, path in enumerate(paths):
        try:
            images[index] = decode_one(path, size, square)
        except Exception as problem:  # Pillow raises a dozen types for damaged files
            return path, str(problem) or type(problem).__name__
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def decode(folder: Path, names: list[str], size: int, square: bool = False) -> np.ndarray | tuple[str, str]:
    """(N, 3, size, size) uint8, decoded on all cores (processes: Pillow's threads wait for each other on small images); or
    the first path that cannot be read and the reason."""
    paths = [os.path.join(folder, name) for name in names]
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(paths) < FEW or workers == 1:
        return decode_chunk(paths, size, square)
    step = -(-len(paths) // (4 * workers))
    chunks = [paths[begin:begin + step] for begin in range(0, len(paths), step)]
    # not fork: a forked process inherits torch's threads in an undefined state
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context) as pool:
            parts = list(pool.map(decode_chunk, chunks, [size] * len(chunks), [square] * len(chunks)))
    except RuntimeError:  # a script without a main guard cannot spawn
        return decode_chunk(paths, size, square)
    bad = [part for part in parts if isinstance(part, tuple)]
    return bad[0] if bad else np.concatenate([part for part in parts if not isinstance(part, tuple)])
