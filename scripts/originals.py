"""Reading the publishers' files: SVHN .mat, MNIST IDX, BSDS500 folder or archive, CelebA folder or zip.

Each reader returns decoded arrays or an InputError that names the file and says what to do. `OFFICIAL` holds what is known of
the official releases; other data are read all the same, and called what they are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from common.cli import InputError

# images of each split in the official release, as (train, test)
OFFICIAL = {"svhn": (73257, 26032), "mnistm": (60000, 10000), "photographs": (200, 200), "face": (162770, 19867)}
# SHA-256 of the decompressed IDX images: the gzip wrapper differs between mirrors, the content does not
MNIST_CONTENT = {"train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                 "test": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"}
AGAIN = "it is cut short or damaged; fetch it again"


def find(root: Path, *names: str) -> Path | None:
    """The first file or folder of one of these names, at any depth below root."""
    for name in names:
        found = sorted(root.rglob(name))
        if found:
            return found[0]
    return None


def read_svhn(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 32, 32, 3) uint8 and (N,) labels in the file's order, its label 10 as the digit 0."""
    from scipy.io import loadmat

    path = find(root, f"{split}_32x32.mat")
    if path is None:
        raise FileNotFoundError(f"SVHN's {split}_32x32.mat")
    try:
        content = loadmat(path)
        images, labels = content["X"].transpose(3, 0, 1, 2), content["y"].reshape(-1).astype(np.int64)
        assert images.shape[1:] == (32, 32, 3) and len(images) == len(labels)
    except Exception as problem:  # scipy raises many types for a damaged file
        raise InputError(f"{path} cannot be read as SVHN's cropped digits ({type(problem).__name__}): {AGAIN}") from None
    return images, labels % 10


def read_mnist(root: Path, split: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """(N, 28, 28) uint8, (N,) labels, and whether the images are MNIST's own, bit for bit."""
    stem = {"train": "train", "test": "t10k"}[split]
    raw = _idx(root, f"{stem}-images-idx3-ubyte", 2051)
    labels = _idx(root, f"{stem}-labels-idx1-ubyte", 2049)
    official = hashlib.sha256(raw[1]).hexdigest() == MNIST_CONTENT[split]
    images = np.frombuffer(raw[1], np.uint8, offset=16).reshape(-1, 28, 28)
    numbers = np.frombuffer(labels[1], np.uint8, offset=8).astype(np.int64)
    if len(images) != len(numbers):
        raise InputError(f"{raw[0]} has {len(images)} images and {labels[0]} {len(numbers)} labels; fetch both again")
    return images, numbers, official


def _idx(root: Path, stem: str, magic: int) -> tuple[Path, bytes]:
    """Path and content of an IDX file, its header checked against its length."""
    path = find(root, stem + ".gz", stem, stem.replace("-idx", ".idx"))
    if path is None:
        raise FileNotFoundError(f"MNIST's {stem}.gz")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None
    count = 4 if magic == 2051 else 2  # integers in the header: the magic number and the sizes
    header = np.frombuffer(data[:4 * count].ljust(4 * count, b"\0"), ">i4")
    if header[0] != magic or len(data) != 4 * count + int(np.prod(header[1:], dtype=np.int64)):
        raise InputError(f"{path} is not the IDX file its name says: {AGAIN}")
    return path, data


def read_photographs(root: Path, split: str) -> dict[str, np.ndarray]:
    """BSDS500's photographs of that split, name → (H, W, 3) uint8, sorted by name."""
    read = _opener(root, f"images/{split}", ("BSR_bsds500.tgz", "BSDS500.tgz", "*.tgz"))
    if read is None:
        raise FileNotFoundError(f"BSDS500's images/{split} (or BSR_bsds500.tgz)")
    return {name: _decode(path, data) for name, (path, data) in sorted(read.items())}


def _opener(root: Path, inside: str, archives: tuple[str, ...]) -> dict[str, tuple[str, bytes]] | None:
    """name → (path for messages, bytes) of the .jpg files in the folder `inside`, unpacked or in a tar archive."""
    folders = [f for f in sorted(root.rglob(Path(inside).name)) if f.as_posix().endswith(inside) and any(f.glob("*.jpg"))]
    if folders:
        return {p.name: (str(p), p.read_bytes()) for p in folders[0].glob("*.jpg")}
    path = find(root, *archives)
    if path is None:
        return None
    try:
        with tarfile.open(path) as archive:
            found = {Path(m.name).name: (f"{path}:{m.name}", archive.extractfile(m).read())  # type: ignore[union-attr]
                     for m in archive if m.isfile() and f"{inside}/" in m.name and m.name.endswith(".jpg")}
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise InputError(f"{path} cannot be unpacked ({type(problem).__name__}): {AGAIN}") from None
    return found or None


def _decode(path: str, data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as problem:  # Pillow raises many types
        raise InputError(f"{path} cannot be read as an image ({problem}): {AGAIN}") from None


def celeba_images(root: Path) -> Callable[[str], np.ndarray]:
    """A function name → (H, W, 3) uint8 of CelebA's aligned images, from the folder or from the zip."""
    folder = find(root, "img_align_celeba")
    if folder is not None and folder.is_dir():
        inner = folder / "img_align_celeba"  # some unpackers make the folder twice
        place = inner if inner.is_dir() else folder

        def from_folder(name: str) -> np.ndarray:
            path = place / name
            if not path.is_file():
                raise InputError(f"{path} is not there, but list_eval_partition.txt names it; fetch the images again")
            return _decode(str(path), path.read_bytes())

        return from_folder
    path = find(root, "img_align_celeba.zip")
    if path is None:
        raise FileNotFoundError("CelebA's img_align_celeba folder or img_align_celeba.zip")
    try:
        archive = zipfile.ZipFile(path)
        names = {Path(n).name: n for n in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        raise InputError(f"{path} cannot be unpacked: {AGAIN}") from None

    def from_zip(name: str) -> np.ndarray:
        try:
            return _decode(f"{path}:{name}", archive.read(names[name]))
        except (KeyError, zipfile.BadZipFile, EOFError, OSError):
            raise InputError(f"{path} has no whole image {name}: {AGAIN}") from None

    return from_zip


def read_celeba_lists(root: Path) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """name → attributes (-1 or 1), and name → partition (0 train, 1 validation, 2 test)."""
    attributes, partition = find(root, "list_attr_celeba.txt"), find(root, "list_eval_partition.txt")
    if attributes is None or partition is None:
        raise FileNotFoundError("CelebA's list_attr_celeba.txt and list_eval_partition.txt")
    try:
        _, header, *rows = attributes.read_text().splitlines()
        columns = header.split()
        table = {n: dict(zip(columns, map(int, v), strict=True)) for n, *v in (r.split() for r in rows if r.strip())}
        parts = {n: int(p) for n, p in (r.split() for r in partition.read_text().splitlines() if r.strip())}
    except ValueError:
        raise InputError(f"{attributes} or {partition} has a row that is not whole: {AGAIN}") from None
    return table, parts
