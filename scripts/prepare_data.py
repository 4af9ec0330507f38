"""Build the course's layout from the public originals:
`python -m scripts.prepare_data --from ORIGINALS --to hw3_data`.

ORIGINALS contains, at any depth, some or all of the following, unpacked or as the published archives:

  SVHN      train_32x32.mat and test_32x32.mat
  MNIST-M   either the published set, which takes precedence: the folders mnist_m_train and mnist_m_test with
            mnist_m_train_labels.txt and mnist_m_test_labels.txt (mnist_m.tar.gz), or keras_mnistm.pkl.gz with
            MNIST's labels (the pickle is read without executing code); or MNIST's four IDX files and BSDS500,
            to generate it
  CelebA    the aligned images, all or some of them, as JPEG or PNG (img_align_celeba, img_align_celeba_png),
            with list_attr_celeba and list_eval_partition, as .txt (the authors') or .csv (Kaggle's)

All available splits are prepared, and a message says what is missing:

  digits/svhn     the cropped digits in the order of the files, 32x32 downsampled to 28x28 with antialiasing
  digits/mnistm   generated: |photograph - 255 (digit > 0)| on a random 28x28 crop, in MNIST's order, training
                  digits on training photographs, test digits on test photographs. The digit is binarised
                  first, so that the photograph is inverted under it, as in the published set (the formula of
                  Ganin et al., JMLR 2016, section 5.2.4, does not mention this). Published: unchanged, or
                  downsampled from 32x32 to 28x28
  face            the 128x128 crop centred at x = 89, y = 121 of CelebA's aligned images, downsampled to
                  64x64; CelebA's training partition is train, its validation partition is test

The same originals and seed give the same images on every machine. An interrupted run is continued by the same
command. The CSV of a split is written last, so that a split with a CSV is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from common import files
from common.cli import InputError, Parser, run_main, whole
from scripts import originals, originals_celeba, originals_mnistm
from scripts.places import Missing, Place, folder, gather
from scripts.splits import Split, building, write_split

ATTRIBUTES = ["Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup",
              "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair",
              "Wearing_Lipstick"]
BLEND = "binarised"  # how MNIST-M's digits are blended; stored in the notes of its splits
SPLITS = ("train", "test")
BY_HAND = {
    "svhn": "train_32x32.mat and test_32x32.mat from ufldl.stanford.edu/housenumbers",
    "mnistm": "MNIST's four IDX files, and BSR_bsds500.tgz from Berkeley's page of the Segmentation Dataset "
              "BSDS500; or a published MNIST-M",
    "face": "img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from CelebA's page "
            "at CUHK",
}


def main() -> None:
    parser = Parser(prog="python -m scripts.prepare_data", description=__doc__)
    parser.add_argument("--from", dest="origin", type=Path, required=True, metavar="ORIGINALS",
                        help="folder of the originals")
    parser.add_argument("--to", type=Path, default=Path("hw3_data"), help="folder to create")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART",
                        help="svhn, mnistm, face (default: all available)")
    parser.add_argument("--download", action="store_true",
                        help="first download to ORIGINALS what torchvision offers")
    parser.add_argument("--seed", type=whole(), default=0,
                        help="random seed of the photographs and crops for MNIST-M")
    args = parser.parse_args()
    wanted = list(dict.fromkeys(args.only or PARTS))
    if args.download:
        files.make_folder(args.origin)
        for part in wanted:
            download(part, args.origin)
    if not args.origin.is_dir():
        raise InputError(f"{args.origin} is not a folder; pass the folder of the originals, or --download")
    root = folder(args.origin)
    with building(args.to):
        done = [split for part in wanted
                for split in prepare(part, root, args.to, args.seed, bool(args.only))]
    if not done:
        raise InputError(f"{args.origin} contains nothing to prepare: download the files named above, or try "
                         "--download")


def prepare(part: str, root: Place, to: Path, seed: int, demanded: bool) -> list[str]:
    """Prepare the splits of a part whose originals are available. Returns these splits, and prints what is
    missing. Raises InputError if the part was requested and neither split is available."""
    where, make = PARTS[part]
    done, absent = [], []
    for split in SPLITS:
        try:
            made = make(root, split, seed)
        except Missing as missing:
            absent.append(str(missing))
            continue
        write_split(to / where, split, made)
        print(made.summary)
        done.append(split)
    if absent:
        skipped = f"{part}'s {'train' if 'test' in done else 'test'} split" if done else part
        sentence = (f"{skipped} is skipped: {', '.join(dict.fromkeys(absent))} cannot be found below "
                    f"{root.path}; download {BY_HAND[part]}")
        if demanded and not done:
            raise InputError(sentence)
        print(sentence)
    return done


def svhn(root: Place, split: str, seed: int) -> Split:
    """A split of digits/svhn."""
    images, labels = originals.read_svhn(root, split)
    official = originals.OFFICIAL["svhn"][split]
    return Split(len(images), lambda index: reduced(images[index]), ["label"], labels[:, None].tolist(),
                 _mark(images, labels),
                 summary("SVHN", split, labels,
                         "official count" if len(labels) == official else f"official: {official}"))


def mnistm(root: Place, split: str, seed: int) -> Split:
    """A split of digits/mnistm: the published set if available, else generated from MNIST and BSDS500."""
    if not originals_mnistm.is_published(root):
        return blended(root, split, seed)
    images, labels, what = originals_mnistm.read_published(root, split)
    official = (f"published set, {images.shape[1]}x{images.shape[2]}, in {what}; "
                f"official: {originals.OFFICIAL['published'][split]}")
    return Split(len(images), lambda index: reduced(images[index]), ["label"], labels[:, None].tolist(),
                 f"{_mark(images, labels)}-published-{BLEND}", summary("MNIST-M", split, labels, official),
                 BLEND)


def blended(root: Place, split: str, seed: int) -> Split:
    """MNIST-M generated from MNIST and BSDS500. The crop under a digit depends only on
    (seed, split, index)."""
    (digits, labels, genuine), photographs = gather(
        lambda: originals.read_mnist(root, split),
        lambda: list(originals.read_photographs(root, split).values()))

    def image(index: int) -> Image.Image:
        draw = np.random.Generator(
            np.random.Philox(key=[seed, SPLITS.index(split)], counter=[0, 0, 0, index]))
        photograph = photographs[draw.integers(len(photographs))]
        top, left = draw.integers(photograph.shape[0] - 27), draw.integers(photograph.shape[1] - 27)
        return Image.fromarray(blend(digits[index], photograph[top:top + 28, left:left + 28]))

    mnist = "official, bit for bit" if genuine else "not the official one"
    published = originals.OFFICIAL["photographs"][split]
    official = f"MNIST {mnist}; on {len(photographs)} of BSDS500's {published} {split} photographs"
    return Split(len(digits), image, ["label"], labels[:, None].tolist(),
                 f"{_mark(digits, labels, *photographs)}-{seed}-{BLEND}",
                 summary("MNIST-M", split, labels, official), BLEND)


def blend(digit: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """|crop - 255 (digit > 0)|: the crop (28, 28, 3) uint8, inverted where the digit (28, 28) is not 0."""
    return np.where(digit[:, :, None] > 0, 255 - crop, crop)


def reduced(image: np.ndarray) -> Image.Image:
    """A digit downsampled to 28x28 with antialiasing, or unchanged if it has this size."""
    picture = Image.fromarray(image)
    return picture if picture.size == (28, 28) else picture.resize((28, 28), Image.Resampling.BICUBIC)


def face(root: Place, split: str, seed: int) -> Split:
    """A split of face."""
    faces = originals_celeba.read_faces(root, split, ATTRIBUTES)

    def image(index: int) -> Image.Image:
        name = faces.names[index]
        pixels = faces.image(name)
        if pixels.shape[:2] != (218, 178):
            raise InputError(f"{name} is {pixels.shape[1]}x{pixels.shape[0]}, not 178x218 as CelebA's "
                             "aligned images are; use img_align_celeba "
                             "(img_celeba contains unaligned photographs)")
        return Image.fromarray(pixels[57:185, 25:153]).resize((64, 64), Image.Resampling.BICUBIC)

    rows = [",".join(map(str, row)) for row in faces.rows]
    made_from = (faces.names, rows) if faces.columns == ATTRIBUTES else (faces.names, rows, faces.columns)
    return Split(len(faces.names), image, faces.columns, faces.rows,
                 hashlib.sha256(repr(made_from).encode()).hexdigest()[:16], _face_summary(split, faces))


def _face_summary(split: str, faces: originals_celeba.Faces) -> str:
    """One line: the number of images, and what is missing."""
    official = originals.OFFICIAL["face"][split]
    notes = ["official count" if len(faces.names) == official else f"official: {official}"]
    notes += [f"listed, but missing: {faces.no_image}"] * bool(faces.no_image)
    notes += [f"skipped, without attributes: {faces.no_row}"] * bool(faces.no_row)
    if absent := [name for name in ATTRIBUTES if name not in faces.columns]:
        notes.append(f"without {', '.join(absent)}, which list_attr_celeba lacks")
    return f"faces {split}: {len(faces.names)} ({'; '.join(notes)})"


PARTS: dict[str, tuple[str, Callable[[Place, str, int], Split]]] = {
    "svhn": ("digits/svhn", svhn), "mnistm": ("digits/mnistm", mnistm), "face": ("face", face)}


def _mark(*arrays: np.ndarray) -> str:
    """A short hash of the data from which a split is made."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def summary(name: str, split: str, labels: np.ndarray, official: str) -> str:
    """One line: the number of images, whether this is the official set, and the frequency of each digit."""
    histogram = " ".join(f"{digit}:{count}" for digit, count in enumerate(np.bincount(labels, minlength=10)))
    return f"{name} {split}: {len(labels)} ({official}); {histogram}"


def download(part: str, origin: Path) -> None:
    """Download what torchvision offers of a part. If this fails, print what to download manually."""
    from torchvision import datasets

    try:
        if part == "svhn":
            for split in SPLITS:
                datasets.SVHN(str(origin / "svhn"), split=split, download=True)
        elif part == "mnistm":
            datasets.MNIST(str(origin / "mnist"), download=True)
            print(f"torchvision does not offer BSDS500; download manually to {origin}: {BY_HAND[part]}")
        else:
            datasets.CelebA(str(origin / "celeba"), split="all", target_type="attr", download=True)
    except Exception as problem:  # network, quota, checksum: torchvision raises many types of exceptions
        print(f"{part} could not be downloaded ({type(problem).__name__}); download manually to {origin}: "
              f"{BY_HAND[part]}")


if __name__ == "__main__":
    run_main(main)
