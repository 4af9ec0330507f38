"""Readers for the published MNIST-M: folders with label files (or a tar.gz of them), and keras_mnistm.pkl.gz.

Unpickling can execute arbitrary code. This pickle is therefore read with stand-ins for the few names that
arrays need, and any other name is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.cli import InputError
from scripts.originals import digits_checked, read_mnist_labels
from scripts.places import AGAIN, IMAGES, Missing, Place, decode, find, places, text, unzipped

HINT = "mnist.?m"
PICKLE = re.compile(r"mnist.?m[^/]*\.(pkl|pickle)(\.gz)?$", re.IGNORECASE)


def is_published(root: Place) -> bool:
    """Whether there is a published MNIST-M, or a part of one."""
    return (_pickled(root) is not None
            or any(_labels(root, split) or _images(root, split) for split in ("train", "test")))


def read_published(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images (N, 28, 28, 3) or (N, 32, 32, 3) uint8 in the order of the set, labels (N,), and a description
    of the source."""
    if any(_labels(root, name) or _images(root, name) for name in ("train", "test")):
        return _read_folder(root, split)
    return _read_pickle(root, split)


def _checked(what: str, images: np.ndarray) -> np.ndarray:
    """The images. Raises InputError if they have another shape or type."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] not in ((28, 28, 3), (32, 32, 3)):
        raise InputError(f"{what} contains images of {images.shape} {images.dtype}, not uint8 of Nx28x28x3 "
                         "or Nx32x32x3; download the published set")
    return images


def _labels(root: Place, split: str) -> tuple[Place, str] | None:
    return find(root, HINT, f"mnist_m_{split}_labels.txt")


def _images(root: Place, split: str) -> tuple[Place, list[str]] | None:
    """The files in the image folder of a split, which may be nested in a folder of the same name."""
    for place in places(root, HINT):
        if found := place.images(f"mnist_m_{split}"):
            return place, found
    return None


def _read_folder(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    listed, found = _labels(root, split), _images(root, split)
    if listed is None or found is None:
        raise Missing(f"mnist_m_{split}_labels.txt" if found
                      else f"the folder mnist_m_{split} with its images")
    path, place = listed[0].path / listed[1], found[0]
    rows = [line.replace(",", " ").split() for line in text(*listed).splitlines() if line.strip()]
    if wrong := next((row for row in rows
                      if len(row) != 2 or not IMAGES.search(row[0]) or not row[1].isdecimal()), None):
        raise InputError(f"{path}: the row {' '.join(wrong)[:40]!r} is not an image name "
                         f"and a digit: {AGAIN}")
    names = {PurePosixPath(name).name: name for name in found[1]}
    table = {name: int(label) for name, label in sorted(rows) if name in names}
    if not table:
        raise Missing(f"an image in mnist_m_{split} that mnist_m_{split}_labels.txt lists")
    labels = digits_checked(path, np.array(list(table.values())))
    # in the order of the place, since archives are read sequentially
    read = {file: decode(place, name) for file, name in names.items() if file in table}
    if len(sizes := {image.shape for image in read.values()}) > 1:
        raise InputError(f"{place.path}: the images of mnist_m_{split} differ in size ({sorted(sizes)}); "
                         "download the published set")
    left_out = len(set(names) ^ {row[0] for row in rows})
    images = _checked(f"{place.path}/…/mnist_m_{split}", np.stack([read[name] for name in table]))
    without = f", without {left_out} that have no image or no label" if left_out else ""
    return images, labels, f"{path.parent}{without}"


def _pickled(root: Place) -> tuple[Place, str] | None:
    return next(((place, name) for place in places(root, HINT)
                 for name in place.names if PICKLE.search(name)), None)


def _read_pickle(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    found = _pickled(root)
    assert found is not None
    path = found[0].path / found[1]
    arrays = unpickle(path, unzipped(path, found[0].read(found[1])))
    if split not in arrays:
        raise Missing(f"the {split} split in {path}")
    try:
        labels = read_mnist_labels(root, split)
    except Missing as missing:
        raise Missing(f"{missing} ({path.name} contains only images, and needs MNIST's labels)") from None
    images, valid = _checked(str(path), arrays[split]), arrays.get("valid")
    if (split == "train" and valid is not None
            and valid.shape == (len(labels) - len(images), *images.shape[1:])):
        # TensorFlow validates on MNIST's first digits
        images = np.concatenate([_checked(str(path), valid), images])
    if len(images) != len(labels):
        raise InputError(f"{path} contains {len(images)} {split} images, but MNIST has {len(labels)} labels; "
                         "both must be complete")
    return images, labels, str(path)


class Dtype:
    """Stand-in for numpy.dtype in a pickle: a type code and the byte order."""

    def __init__(self, code: str, *rest: Any) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class Array:
    """Stand-in for numpy.ndarray in a pickle: shape, dtype, memory order and bytes."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.by_columns, self.data = state

    def array(self) -> np.ndarray:
        """The array. Raises ValueError if it is not numeric."""
        code = f"{self.dtype.order}{self.dtype.code}"
        if not re.fullmatch(r"[|<>=][uif][1248]", code):
            raise ValueError(f"an array of {code}")
        # str in pickles of Python 2
        raw = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        return np.frombuffer(raw, code).reshape(self.shape, order="F" if self.by_columns else "C")


def _empty(*arguments: Any) -> Array:
    return Array()


def _filled(data: bytes, dtype: Dtype, shape: tuple, order: str) -> Array:
    made = Array()
    made.__setstate__((1, shape, dtype, order == "F", data))
    return made


def _encoded(string: str, encoding: str) -> bytes:
    return string.encode("latin1")


STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Array, ("numpy", "dtype"): Dtype, ("_codecs", "encode"): _encoded}
for core in ("numpy.core", "numpy._core"):
    STAND_INS |= {(f"{core}.multiarray", "_reconstruct"): _empty, (f"{core}.numeric", "_frombuffer"): _filled}


def unpickle(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary, by name. Raises InputError for other content, and for pickles that
    use other names."""
    # the Python implementation, since the one in C allocates whatever size a damaged file claims
    class Reader(pickle._Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in STAND_INS:
                raise InputError(f"{path} uses {module}.{name}, which arrays do not need, so it is not "
                                 "loaded; download the published keras_mnistm.pkl.gz")
            return STAND_INS[module, name]

    try:
        content = Reader(io.BytesIO(data), encoding="latin1").load()
        return {name.decode("latin1") if isinstance(name, bytes) else str(name): value.array()
                for name, value in content.items() if isinstance(value, Array)}
    except InputError:
        raise
    except Exception as problem:  # unpickling may raise any type of exception
        raise InputError(f"{path} cannot be read as a pickled dictionary of arrays "
                         f"({type(problem).__name__}: {problem}); "
                         "download the published keras_mnistm.pkl.gz") from None
