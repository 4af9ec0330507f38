"""Build the course's layout from the public originals: `python -m scripts.prepare_data --from ORIGINALS --to hw3_data`.

ORIGINALS holds, at any depth: SVHN's train_32x32.mat and test_32x32.mat; MNIST's four IDX files; BSDS500 (folder or .tgz);
CelebA's img_align_celeba (folder or .zip) with list_attr_celeba.txt and list_eval_partition.txt. What is there is prepared:

  digits/svhn     the cropped digits in the files' order, 32x32 reduced to 28x28 with antialiasing
  digits/mnistm   made from MNIST and BSDS500: |photograph - digit| on a random 28x28 crop, in MNIST's order (Ganin et al.,
                  JMLR 2016, section 5.2.4), training digits on training photographs, test digits on test photographs
  face            128x128 about x = 89, y = 121 of CelebA's aligned images, reduced to 64x64; CelebA's training partition is
                  train, its validation partition test

The same originals and seed give the same bytes on every machine. A run that was stopped goes on where it was; a CSV is written
last, so that a split with its CSV is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.cli import InputError, Parser, run_main
from common.files import write_atomically
from scripts import originals

ATTRIBUTES = ["Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
              "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick"]
BY_HAND = {
    "svhn": "train_32x32.mat and test_32x32.mat from ufldl.stanford.edu/housenumbers",
    "mnistm": "MNIST's four IDX files, and BSR_bsds500.tgz from Berkeley's page of the Segmentation Dataset BSDS500",
    "face": "img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from CelebA's page at CUHK",
}


def main() -> None:
    parser = Parser(prog="python -m scripts.prepare_data", description=__doc__)
    parser.add_argument("--from", dest="origin", type=Path, required=True, metavar="ORIGINALS", help="folder of the originals")
    parser.add_argument("--to", type=Path, default=Path("hw3_data"), help="folder to build")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="svhn, mnistm, face (default: what is there)")
    parser.add_argument("--download", action="store_true", help="first fetch into ORIGINALS what torchvision offers")
    parser.add_argument("--seed", type=int, default=0, help="of MNIST-M's crops")
    args = parser.parse_args()
    wanted = args.only or list(PARTS)
    if args.download:
        args.origin.mkdir(parents=True, exist_ok=True)
        for part in wanted:
            download(part, args.origin)
    if not args.origin.is_dir():
        raise InputError(f"{args.origin} is not a folder; give the folder of the originals, or --download to fetch them")
    done = 0
    for part in wanted:
        try:
            PARTS[part](args.origin, args.to, args.seed)
            done += 1
        except FileNotFoundError as missing:
            sentence = f"{part} is left out: {missing} is not below {args.origin}; fetch {BY_HAND[part]}"
            if args.only:
                raise InputError(sentence) from None
            print(sentence)
    if not done:
        raise InputError(f"no originals below {args.origin}; fetch them by hand, or try --download")


def svhn(origin: Path, to: Path, seed: int) -> None:
    """digits/svhn."""
    for split, official in zip(("train", "test"), originals.OFFICIAL["svhn"], strict=True):
        images, labels = originals.read_svhn(origin, split)

        def reduced(index: int, images: np.ndarray = images) -> Image.Image:
            return Image.fromarray(images[index]).resize((28, 28), Image.Resampling.BICUBIC)

        write_split(to / "digits/svhn", split, reduced, len(images), _digit_rows(labels), _mark(images, labels))
        summarise("SVHN", split, labels, "official count" if len(labels) == official else f"official: {official}")


def mnistm(origin: Path, to: Path, seed: int) -> None:
    """digits/mnistm. The crop of a digit depends on (seed, split, index) alone."""
    for number, split in enumerate(("train", "test")):
        digits, labels, genuine = originals.read_mnist(origin, split)
        photographs = list(originals.read_photographs(origin, split).values())
        if small := [p.shape for p in photographs if min(p.shape[:2]) < 28]:
            raise InputError(f"a photograph of BSDS500's images/{split} is only {small[0][1]} pixels wide; fetch it again")

        def blended(index: int, number: int = number, digits: np.ndarray = digits,
                    photographs: list[np.ndarray] = photographs) -> Image.Image:
            draw = np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, index]))
            photograph = photographs[draw.integers(len(photographs))]
            top, left = draw.integers(photograph.shape[0] - 27), draw.integers(photograph.shape[1] - 27)
            crop = photograph[top:top + 28, left:left + 28].astype(np.int16)
            return Image.fromarray(np.abs(crop - digits[index][:, :, None]).astype(np.uint8))

        write_split(to / "digits/mnistm", split, blended, len(digits), _digit_rows(labels),
                    _mark(digits, labels, *photographs) + f"-{seed}")
        summarise("MNIST-M", split, labels, f"MNIST {'official, bit for bit' if genuine else 'not the official one'}; on "
                  f"{len(photographs)} of BSDS500's {originals.OFFICIAL['photographs'][number]} {split} photographs")


def face(origin: Path, to: Path, seed: int) -> None:
    """face."""
    attributes, partition = originals.read_celeba_lists(origin)
    image = originals.celeba_images(origin)
    for number, split in enumerate(("train", "test")):
        names = sorted(name for name, part in partition.items() if part == number)
        if absent := [name for name in names if name not in attributes]:
            raise InputError(f"list_attr_celeba.txt has no row for {absent[0]}; fetch it again")

        def cropped(index: int, names: list[str] = names) -> Image.Image:
            whole = image(names[index])
            if whole.shape[:2] != (218, 178):
                raise InputError(f"{names[index]} is {whole.shape[1]}x{whole.shape[0]}, not CelebA's aligned 178x218; fetch "
                                 "img_align_celeba, not img_celeba")
            return Image.fromarray(whole[57:185, 25:153]).resize((64, 64), Image.Resampling.BICUBIC)

        rows = [",".join(str(max(attributes[name][a], 0)) for a in ATTRIBUTES) for name in names]
        mark = hashlib.sha256(repr((names, rows)).encode()).hexdigest()[:16]
        write_split(to / "face", split, cropped, len(names), (["image_name", *ATTRIBUTES], rows), mark)
        official = originals.OFFICIAL["face"][number]
        print(f"faces {split}: {len(names)} ({'official count' if len(names) == official else f'official: {official}'})")


PARTS: dict[str, Callable[[Path, Path, int], None]] = {"svhn": svhn, "mnistm": mnistm, "face": face}


def _digit_rows(labels: np.ndarray) -> tuple[list[str], list[str]]:
    return ["image_name", "label"], [str(label) for label in labels]


def _mark(*arrays: np.ndarray) -> str:
    """A short hash of what a split is made from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def write_split(folder: Path, split: str, make: Callable[[int], Image.Image], count: int,
                rows: tuple[list[str], list[str]], mark: str) -> None:
    """folder/split/00000.png … and folder/split.csv. `mark` says what the images are made from: a folder that was made from
    something else is not mixed with, and not overwritten."""
    images, table, note = folder / split, folder / f"{split}.csv", folder / f".{split}.json"
    images.mkdir(parents=True, exist_ok=True)
    before = json.loads(note.read_text())["made_from"] if note.exists() else None
    if before not in (None, mark) or (before is None and any(images.iterdir())):
        raise InputError(f"{images} holds images made from other originals or with another seed; remove it or choose another --to")
    write_atomically(note, json.dumps({"made_from": mark}) + "\n")
    names = [f"{index:05}.png" for index in range(count)]
    present = set(os.listdir(images))
    todo = [index for index, name in enumerate(names) if name not in present]

    def write(index: int) -> None:
        # under another name first: what has the right name is whole
        part = images / f".{names[index]}.part"
        make(index).save(part, format="PNG", compress_level=1)
        part.replace(images / names[index])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in progress(pool.map(write, todo), len(todo), f"{folder.name} {split}"):
            pass
    header, values = rows
    lines = [",".join(header), *(f"{name},{value}" for name, value in zip(names, values, strict=True))]
    write_atomically(table, "\n".join(lines) + "\n")


def progress(steps: Iterable[None], total: int, name: str) -> Iterable[None]:
    """A bar on a terminal, silence elsewhere and where nothing is left to do."""
    return tqdm(steps, total=total, desc=name, unit="image", disable=None if total else True, leave=False)


def summarise(name: str, split: str, labels: np.ndarray, official: str) -> None:
    """One line: the count, how often each digit occurs, and whether this is the official set."""
    histogram = " ".join(f"{digit}:{count}" for digit, count in enumerate(np.bincount(labels, minlength=10)))
    print(f"{name} {split}: {len(labels)} ({official}); {histogram}")


def download(part: str, origin: Path) -> None:
    """Fetch through torchvision what it offers. A failed download is one sentence that says what to fetch by hand."""
    from torchvision import datasets

    try:
        if part == "svhn":
            for split in ("train", "test"):
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
