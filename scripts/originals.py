"""Readers for the original files of SVHN (.mat), MNIST (IDX) and BSDS500.

Each reader returns decoded arrays, or raises `Missing` or an InputError that names the file and says what to
do. `OFFICIAL` has the official releases' sizes; other data are accepted, and reported as not official.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path, PurePosixPath

import numpy as np

from common.cli import InputError
from scripts.places import AGAIN, Missing, Place, decode, find, places, unzipped

# number of images per split in the official release
OFFICIAL = {"svhn": {"train": 73257, "test": 26032}, "published": {"train": 59001, "test": 9001},
            "photographs": {"train": 200, "test": 200}, "face": {"train": 162770, "test": 19867}}
# SHA-256 of the decompressed IDX files, since the gzip files differ between mirrors
MNIST_CONTENT = {"train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                 "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                 "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                 "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}


def digits_checked(path: Path, labels: np.ndarray) -> np.ndarray:
    """The labels as int64 (N,). Raises InputError if there are none, or one is not a digit from 0 to 9."""
    if not len(labels):
        raise InputError(f"{path} contains no digits; download the original file")
    if len(wrong := np.flatnonzero(~np.isin(labels, np.arange(10)))):
        raise InputError(f"{path}: the label of digit {wrong[0]}, counted from 0, is {labels[wrong[0]]}, not "
                         "a digit; download the original file")
    return labels.astype(np.int64)


def read_svhn(root: Place, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,), in the order of the file. Its label 10 is
    converted to 0."""
    from scipy.io import loadmat

    found = find(root, "svhn|digits", f"{split}_32x32.mat")
    if found is None:
        raise Missing(f"{split}_32x32.mat")
    path, data = found[0].path / found[1], found[0].read(found[1])
    try:
        content = loadmat(io.BytesIO(data), variable_names=["X", "y"])
    except NotImplementedError:
        raise InputError(f"{path} is a MATLAB file of version 7.3; download SVHN's original, of an older "
                         "version") from None
    except Exception as problem:  # for damaged files, scipy raises many types of exceptions
        raise InputError(f"{path} cannot be read as a MATLAB file ({type(problem).__name__}): "
                         f"{AGAIN}") from None
    images, labels = (np.asarray(content.get(name)) for name in "Xy")
    if (images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3)
            or labels.dtype.kind not in "uif" or labels.size != images.shape[3]):
        raise InputError(f"{path} does not contain SVHN's cropped digits (X: 32x32x3xN bytes, y: N labels), "
                         f"but X: {images.shape} {images.dtype}, y: {labels.shape} {labels.dtype}; download "
                         "format 2 of SVHN")
    labels = labels.reshape(-1)
    return images.transpose(3, 0, 1, 2), digits_checked(path, np.where(labels == 10, 0, labels))


def read_mnist(root: Place, split: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Images (N, 28, 28) uint8, labels (N,), and whether the images are exactly those of MNIST."""
    path, images, official = _idx(root, split, "images")
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise InputError(f"{path} contains digits of {'x'.join(map(str, images.shape[1:]))}, not 28x28; "
                         "download MNIST's original")
    labels = read_mnist_labels(root, split)
    if len(images) != len(labels):
        raise InputError(f"{path} contains {len(images)} images, but its label file {len(labels)} labels; "
                         "download both again")
    return images, labels, official


def read_mnist_labels(root: Place, split: str) -> np.ndarray:
    """MNIST's labels (N,)."""
    path, labels, _ = _idx(root, split, "labels")
    return digits_checked(path, labels)


def read_photographs(root: Place, split: str) -> dict[str, np.ndarray]:
    """BSDS500's photographs of a split: name → (H, W, 3) uint8, sorted by name."""
    for place in places(root, "bsds|bsr"):
        folders = {str(PurePosixPath(name).parent) for name in place.images(f"images/{split}")}
        if folders:
            # other data sets contain folders of that name too
            chosen = min(folders,
                         key=lambda folder: (not re.search("bsds500|bsr", folder, re.IGNORECASE), folder))
            found = [name for name in place.images(f"images/{split}")
                     if str(PurePosixPath(name).parent) == chosen]
            read = {PurePosixPath(name).name: _large_enough(place.path / name, decode(place, name))
                    for name in found}
            return dict(sorted(read.items()))
    raise Missing(f"BSDS500's images/{split}")


def _large_enough(path: Path, photograph: np.ndarray) -> np.ndarray:
    if min(photograph.shape[:2]) < 28:
        raise InputError(f"{path} is smaller than a digit (28x28); download BSDS500's original")
    return photograph


def _idx(root: Place, split: str, kind: str) -> tuple[Path, np.ndarray, bool]:
    """Path and content of an IDX file, and whether it is exactly MNIST's. Of several files of that name
    (Fashion-MNIST uses the same names), MNIST's is preferred, else the first is used."""
    what, axes = f"{'train' if split == 'train' else 't10k'}-{kind}", {"images": 3, "labels": 1}[kind]
    stem = f"{what}-idx{axes}-ubyte"
    spellings = [one + end for end in (".gz", "") for one in (stem, stem.replace("-idx", ".idx"))]
    for place in places(root, "mnist|" + what):
        names = [name for spelling in spellings for name in place.has(spelling)]
        read = []
        for name in names:
            path = place.path / name
            data = unzipped(path, place.read(name))
            read.append((path, data, hashlib.sha256(data).hexdigest() == MNIST_CONTENT[what]))
        if read:
            path, data, genuine = max(read, key=lambda entry: entry[2])
            return path, _array(path, data, axes), genuine
    raise Missing(f"{stem}.gz")


def _array(path: Path, data: bytes, axes: int) -> np.ndarray:
    """The uint8 array of an IDX file: four bytes of magic number, the dimensions and the values."""
    begin = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]):
        raise InputError(f"{path} is not the IDX file that its name says; download MNIST's original")
    sizes = [int(size) for size in np.frombuffer(data[4:begin].ljust(begin - 4, b"\0"), ">u4")]
    if (beyond := len(data) - begin - math.prod(sizes)) < 0:
        raise InputError(f"{path} cannot be read: {AGAIN}")
    if beyond:
        raise InputError(f"{path} contains {beyond} bytes more than its header says; download MNIST's "
                         "original")
    return np.frombuffer(data, np.uint8, offset=begin).reshape(sizes)
