"""Reading MNIST-M as it is published: folders with files of labels (or their tar.gz), and keras_mnistm.pkl.gz.

A pickle is a program. This one is read by stand-ins for the four names that arrays need, so that nothing of it runs.
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
    """Whether a published MNIST-M, or a part of one, is there."""
    return _pickled(root) is not None or any(_labels(root, split) or _images(root, split) for split in ("train", "test"))


def read_published(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    """(N, 28, 28, 3) or (N, 32, 32, 3) uint8 in the set's order, (N,) labels, and one phrase that says what was read."""
    if any(_labels(root, name) or _images(root, name) for name in ("train", "test")):
        return _read_folder(root, split)
    return _read_pickle(root, split)


def _checked(what: str, images: np.ndarray) -> np.ndarray:
    """The images. InputError where they are no digits of that form."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] not in ((28, 28, 3), (32, 32, 3)):
        raise InputError(f"{what} holds images of {images.shape} {images.dtype}, not bytes of Nx28x28x3 or Nx32x32x3; fetch the "
                         "published set")
    return images


def _labels(root: Place, split: str) -> tuple[Place, str] | None:
    return find(root, HINT, f"mnist_m_{split}_labels.txt")


def _images(root: Place, split: str) -> tuple[Place, list[str]] | None:
    """The files in the folder of a split's images, or in the folder of the same name that some unpackers make in it."""
    for place in places(root, HINT):
        if found := place.images(f"mnist_m_{split}"):
            return place, found
    return None


def _read_folder(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    listed, found = _labels(root, split), _images(root, split)
    if listed is None or found is None:
        raise Missing(f"mnist_m_{split}_labels.txt" if found else f"the folder mnist_m_{split} with its images")
    path, place = listed[0].path / listed[1], found[0]
    rows = [line.replace(",", " ").split() for line in text(*listed).splitlines() if line.strip()]
    if wrong := next((row for row in rows if len(row) != 2 or not IMAGES.search(row[0]) or not row[1].isdecimal()), None):
        raise InputError(f"{path}: the row {' '.join(wrong)[:40]!r} is no image's name with its digit: {AGAIN}")
    names = {PurePosixPath(name).name: name for name in found[1]}
    table = {name: int(label) for name, label in sorted(rows) if name in names}
    if not table:
        raise Missing(f"an image in mnist_m_{split} that mnist_m_{split}_labels.txt names")
    labels = digits_checked(path, np.array(list(table.values())))
    # in the place's order, since an archive is best read from its beginning to its end
    read = {file: decode(place, name) for file, name in names.items() if file in table}
    if len(sizes := {image.shape for image in read.values()}) > 1:
        raise InputError(f"{place.path}: the images of mnist_m_{split} differ in size ({sorted(sizes)}); fetch the published set")
    left_out = len(set(names) ^ {row[0] for row in rows})
    return _checked(f"{place.path}/…/mnist_m_{split}", np.stack([read[name] for name in table])), labels, str(path.parent) + (
        f", without {left_out} that have no image or no label" if left_out else "")


def _pickled(root: Place) -> tuple[Place, str] | None:
    return next(((place, name) for place in places(root, HINT) for name in place.names if PICKLE.search(name)), None)


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
        raise Missing(f"{missing} (MNIST's labels belong to {path.name}, which holds images only)") from None
    images, valid = _checked(str(path), arrays[split]), arrays.get("valid")
    if split == "train" and valid is not None and valid.shape == (len(labels) - len(images), *images.shape[1:]):
        images = np.concatenate([_checked(str(path), valid), images])  # TensorFlow took MNIST's first digits for validation
    if len(images) != len(labels):
        raise InputError(f"{path} has {len(images)} {split} images, but MNIST's labels are {len(labels)}; give both whole")
    return images, labels, str(path)


class Dtype:
    """What numpy.dtype is in a pickle: a code, and the order of bytes."""

    def __init__(self, code: str, *rest: Any) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class Array:
    """What numpy.ndarray is in a pickle: a shape, a dtype, an order of axes, and bytes."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.by_columns, self.data = state

    def array(self) -> np.ndarray:
        """The array. ValueError where it is none of numbers."""
        code = f"{self.dtype.order}{self.dtype.code}"
        if not re.fullmatch(r"[|<>=][uif][1248]", code):
            raise ValueError(f"an array of {code}")
        raw = self.data.encode("latin1") if isinstance(self.data, str) else self.data  # Python 2 knew no bytes
        return np.frombuffer(raw, code).reshape(self.shape, order="F" if self.by_columns else "C")


def _empty(*arguments: Any) -> Array:
    return Array()


def _filled(data: bytes, dtype: Dtype, shape: tuple, order: str) -> Array:
    made = Array()
    made.__setstate__((1, shape, dtype, order == "F", data))
    return made


def _encoded(string: str, encoding: str) -> bytes:
    return string.encode("latin1")


STAND_INS: dict[tuple[str, str], Any] = {("numpy", "ndarray"): Array, ("numpy", "dtype"): Dtype, ("_codecs", "encode"): _encoded}
for core in ("numpy.core", "numpy._core"):
    STAND_INS |= {(f"{core}.multiarray", "_reconstruct"): _empty, (f"{core}.numeric", "_frombuffer"): _filled}


def unpickle(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary, by name. InputError for anything else, and for a pickle that would run something."""
    # the one written in Python: the other reserves whatever memory a damaged file asks for
    class Reader(pickle._Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in STAND_INS:
                raise InputError(f"{path} asks for {module}.{name}, which no array needs, so it is not read; fetch the published "
                                 "keras_mnistm.pkl.gz")
            return STAND_INS[module, name]

    try:
        content = Reader(io.BytesIO(data), encoding="latin1").load()
        return {name.decode("latin1") if isinstance(name, bytes) else str(name): value.array()
                for name, value in content.items() if isinstance(value, Array)}
    except InputError:
        raise
    except Exception as problem:  # a pickle can fail in as many ways as a program
        raise InputError(f"{path} cannot be read as a pickled dictionary of arrays ({type(problem).__name__}: {problem}); fetch "
                         "the published keras_mnistm.pkl.gz") from None
