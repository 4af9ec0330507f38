"""Build the course's layout from the public originals: `python -m scripts.prepare_data --from ORIGINALS --to hw3_data`.

ORIGINALS holds, at any depth, unpacked or as the archives that are published, some or all of:

  SVHN      train_32x32.mat and test_32x32.mat
  MNIST-M   either MNIST's four IDX files and BSDS500, to make it from; or the published set, which goes first: the folders
            mnist_m_train and mnist_m_test with mnist_m_train_labels.txt and mnist_m_test_labels.txt (mnist_m.tar.gz), or
            keras_mnistm.pkl.gz with MNIST's labels. The pickle is read without being executed
  CelebA    the aligned images, all or some of them, as JPEG or PNG (img_align_celeba, img_align_celeba_png), with
            list_attr_celeba and list_eval_partition, as .txt (the authors') or .csv (Kaggle's)

What is there is prepared, split by split, and one sentence says what is missing:

  digits/svhn     the cropped digits in the files' order, 32x32 reduced to 28x28 with antialiasing
  digits/mnistm   made: |photograph - 255 (digit > 0)| on a random 28x28 crop, in MNIST's order, training digits on training
                  photographs, test digits on test photographs. The digit is binarised first, as in the published set (the
                  formula of Ganin et al., JMLR 2016, section 5.2.4, does not say so): the photograph is inverted under it.
                  Published: as it is, 32x32 reduced to 28x28 as SVHN's digits are
  face            128x128 about x = 89, y = 121 of CelebA's aligned images, reduced to 64x64; CelebA's training partition is
                  train, its validation partition test

The same originals and seed give the same images on every machine. A run that was stopped goes on where it was; a CSV is written
last, so that a split with its CSV is whole.
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

ATTRIBUTES = ["Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
              "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick"]
BLEND = "binarised"  # how MNIST-M's digits are blended; the notes of its splits say it
SPLITS = ("train", "test")
BY_HAND = {
    "svhn": "train_32x32.mat and test_32x32.mat from ufldl.stanford.edu/housenumbers",
    "mnistm": "MNIST's four IDX files, and BSR_bsds500.tgz from Berkeley's page of the Segmentation Dataset BSDS500; or a "
              "published MNIST-M",
    "face": "img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from CelebA's page at CUHK",
}


def main() -> None:
    parser = Parser(prog="python -m scripts.prepare_data", description=__doc__)
    parser.add_argument("--from", dest="origin", type=Path, required=True, metavar="ORIGINALS", help="folder of the originals")
    parser.add_argument("--to", type=Path, default=Path("hw3_data"), help="folder to build")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="svhn, mnistm, face (default: what is there)")
    parser.add_argument("--download", action="store_true", help="first fetch into ORIGINALS what torchvision offers")
    parser.add_argument("--seed", type=whole(), default=0, help="of the photographs and crops under MNIST-M's digits")
    args = parser.parse_args()
    wanted = list(dict.fromkeys(args.only or PARTS))
    if args.download:
        files.make_folder(args.origin)
        for part in wanted:
            download(part, args.origin)
    if not args.origin.is_dir():
        raise InputError(f"{args.origin} is not a folder; give the folder of the originals, or --download to fetch them")
    root = folder(args.origin)
    with building(args.to):
        done = [split for part in wanted for split in prepare(part, root, args.to, args.seed, bool(args.only))]
    if not done:
        raise InputError(f"nothing below {args.origin} can be prepared: fetch what the lines above name, or try --download")


def prepare(part: str, root: Place, to: Path, seed: int, demanded: bool) -> list[str]:
    """Both splits of a part, as far as their originals are there → the splits that are done. One sentence on what is missing:
    InputError where the part was demanded and nothing of it is there."""
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
        left_out = f"{part}'s {'train' if 'test' in done else 'test'} split" if done else part
        sentence = (f"{left_out} is left out: {', '.join(dict.fromkeys(absent))} cannot be found below {root.path}; "
                    f"fetch {BY_HAND[part]}")
        if demanded and not done:
            raise InputError(sentence)
        print(sentence)
    return done


def svhn(root: Place, split: str, seed: int) -> Split:
    """digits/svhn."""
    images, labels = originals.read_svhn(root, split)
    official = originals.OFFICIAL["svhn"][split]
    return Split(len(images), lambda index: reduced(images[index]), ["label"], labels[:, None].tolist(), _mark(images, labels),
                 summary("SVHN", split, labels, "official count" if len(labels) == official else f"official: {official}"))


def mnistm(root: Place, split: str, seed: int) -> Split:
    """digits/mnistm: the published set where it is there, else made from MNIST and BSDS500."""
    if not originals_mnistm.is_published(root):
        return blended(root, split, seed)
    images, labels, what = originals_mnistm.read_published(root, split)
    official = f"published set, {images.shape[1]}x{images.shape[2]}, in {what}; official: {originals.OFFICIAL['published'][split]}"
    return Split(len(images), lambda index: reduced(images[index]), ["label"], labels[:, None].tolist(),
                 f"{_mark(images, labels)}-published-{BLEND}", summary("MNIST-M", split, labels, official), BLEND)


def blended(root: Place, split: str, seed: int) -> Split:
    """MNIST-M made from MNIST and BSDS500. The crop below a digit depends on (seed, split, index) alone."""
    (digits, labels, genuine), photographs = gather(
        lambda: originals.read_mnist(root, split), lambda: list(originals.read_photographs(root, split).values()))

    def image(index: int) -> Image.Image:
        draw = np.random.Generator(np.random.Philox(key=[seed, SPLITS.index(split)], counter=[0, 0, 0, index]))
        photograph = photographs[draw.integers(len(photographs))]
        top, left = draw.integers(photograph.shape[0] - 27), draw.integers(photograph.shape[1] - 27)
        return Image.fromarray(blend(digits[index], photograph[top:top + 28, left:left + 28]))

    official = f"MNIST {'official, bit for bit' if genuine else 'not the official one'}; on {len(photographs)} of BSDS500's " \
               f"{originals.OFFICIAL['photographs'][split]} {split} photographs"
    return Split(len(digits), image, ["label"], labels[:, None].tolist(),
                 f"{_mark(digits, labels, *photographs)}-{seed}-{BLEND}", summary("MNIST-M", split, labels, official), BLEND)


def blend(digit: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """|crop - 255 (digit > 0)|: the photograph (28, 28, 3), inverted wherever the digit (28, 28) has ink. uint8."""
    return np.where(digit[:, :, None] > 0, 255 - crop, crop)


def reduced(image: np.ndarray) -> Image.Image:
    """28x28 of a digit, with antialiasing; one of that size as it is."""
    picture = Image.fromarray(image)
    return picture if picture.size == (28, 28) else picture.resize((28, 28), Image.Resampling.BICUBIC)


def face(root: Place, split: str, seed: int) -> Split:
    """face."""
    faces = originals_celeba.read_faces(root, split, ATTRIBUTES)

    def image(index: int) -> Image.Image:
        name = faces.names[index]
        pixels = faces.image(name)
        if pixels.shape[:2] != (218, 178):
            raise InputError(f"{name} is {pixels.shape[1]}x{pixels.shape[0]}, not 178x218 as CelebA's aligned images are; give "
                             "img_align_celeba (img_celeba holds whole photographs)")
        return Image.fromarray(pixels[57:185, 25:153]).resize((64, 64), Image.Resampling.BICUBIC)

    rows = [",".join(map(str, row)) for row in faces.rows]
    made_from = (faces.names, rows) if faces.columns == ATTRIBUTES else (faces.names, rows, faces.columns)
    return Split(len(faces.names), image, faces.columns, faces.rows, hashlib.sha256(repr(made_from).encode()).hexdigest()[:16],
                 _face_summary(split, faces))


def _face_summary(split: str, faces: originals_celeba.Faces) -> str:
    """One line: the count, and what the lists name that is not there."""
    official = originals.OFFICIAL["face"][split]
    notes = ["official count" if len(faces.names) == official else f"official: {official}"]
    notes += [f"named by the lists, but not there: {faces.no_image}"] * bool(faces.no_image)
    notes += [f"left out, without a row of attributes: {faces.no_row}"] * bool(faces.no_row)
    if absent := [name for name in ATTRIBUTES if name not in faces.columns]:
        notes.append(f"without {', '.join(absent)}, which list_attr_celeba does not have")
    return f"faces {split}: {len(faces.names)} ({'; '.join(notes)})"


PARTS: dict[str, tuple[str, Callable[[Place, str, int], Split]]] = {
    "svhn": ("digits/svhn", svhn), "mnistm": ("digits/mnistm", mnistm), "face": ("face", face)}


def _mark(*arrays: np.ndarray) -> str:
    """A short hash of what a split is made from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def summary(name: str, split: str, labels: np.ndarray, official: str) -> str:
    """One line: the count, how often each digit occurs, and whether this is the official set."""
    histogram = " ".join(f"{digit}:{count}" for digit, count in enumerate(np.bincount(labels, minlength=10)))
    return f"{name} {split}: {len(labels)} ({official}); {histogram}"


def download(part: str, origin: Path) -> None:
    """Fetch through torchvision what it offers. A failed download is one sentence that says what to fetch by hand."""
    from torchvision import datasets

    try:
        if part == "svhn":
            for split in SPLITS:
                datasets.SVHN(str(origin / "svhn"), split=split, download=True)
        elif part == "mnistm":
            datasets.MNIST(str(origin / "mnist"), download=True)
            print(f"BSDS500 is not offered by torchvision; fetch by hand into {origin}: {BY_HAND[part]}")
        else:
            datasets.CelebA(str(origin / "celeba"), split="all", target_type="attr", download=True)
    except Exception as problem:  # network, quota, checksum: torchvision raises as many types
        print(f"{part} could not be fetched ({type(problem).__name__}); fetch by hand into {origin}: {BY_HAND[part]}")


if __name__ == "__main__":
    run_main(main)
