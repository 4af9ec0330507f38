"""Small synthetic digits and faces, to run everything without the data:
`python -m common.synthetic --to hw3_data`.

Digits are rendered over synthetic textures in the style of the two domains: "mnistm", a single digit 20
pixels high on a texture that is inverted under it, and "svhn", a digit that fills the frame, with neighbours.
An image depends only on (seed, domain, index). The fonts come with matplotlib and are the same on every
machine. Faces are ovals whose hair, lips and mouth follow their attributes.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from common.cli import InputError, Parser, run_main, whole
from common.files import make_folder, only_one, read_bytes, write
from common.tables import to_csv

FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf",
         "DejaVuSansMono-Bold.ttf")
DOMAINS = ("mnistm", "svhn")
ATTRIBUTES = ("Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup",
              "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair",
              "Wearing_Lipstick")
HAIR = {"Black_Hair": (30, 25, 25), "Blond_Hair": (225, 195, 120), "Brown_Hair": (105, 65, 40)}


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load one of matplotlib's fonts, without importing matplotlib, which is slow."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise InputError("the fonts of the synthetic digits come with matplotlib: "
                         "pip install -r requirements.txt")
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data/fonts/ttf" / name), size)


def texture(random: np.random.Generator, cells: int, contrast: float) -> np.ndarray:
    """(28, 28, 3) float in [0, 1]: smooth noise with `cells` x `cells` cells around a random colour."""
    coarse = random.uniform(-1, 1, (cells, cells, 3)) * 0.6 + random.uniform(-1, 1, (cells, cells, 1))
    layers = [np.asarray(Image.fromarray(coarse[..., c].astype(np.float32))
                         .resize((28, 28), Image.Resampling.BICUBIC))
              for c in range(3)]
    return np.clip(random.uniform(0.15, 0.85, 3) + contrast * np.stack(layers, 2), 0, 1)


def stroke(text: str, size: int, random: np.random.Generator) -> np.ndarray:
    """(28, 28, 1) float in [0, 1]: the text in a random font, roughly centred and slightly rotated."""
    # drawn at twice the size and downsampled, for smooth edges after the rotation
    canvas = Image.new("L", (56, 56))
    face = font(FONTS[random.integers(len(FONTS))], 2 * size)
    x, y = 28 + random.uniform(-3, 3, 2)
    ImageDraw.Draw(canvas).text((x, y), text, fill=255, font=face, anchor="mm")
    turned = (canvas.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC)
              .resize((28, 28), Image.Resampling.BOX))
    return np.asarray(turned, np.float32)[..., None] / 255


def one(label: int, domain: str, random: np.random.Generator) -> np.ndarray:
    """One image, (28, 28, 3) uint8."""
    if domain == "mnistm":
        # at a font size of about 27, a digit is 20 pixels high
        clutter = texture(random, int(random.integers(3, 10)), 0.15)
        digit = stroke(str(label), int(random.integers(23, 28)), random)
        # inverts the antialiased edges fully
        return (255 * np.where(digit > 0, 1 - clutter, clutter)).astype(np.uint8)
    wall = texture(random, 3, 0.08)
    paint = np.clip(wall.mean() + random.choice([-1, 1]) * random.uniform(0.3, 0.6)
                    + random.uniform(-0.1, 0.1, 3), 0, 1)
    if abs(paint.mean() - wall.mean()) < 0.25:
        # clipping removed the contrast: use the opposite end of the range
        paint = np.full(3, 0.0 if wall.mean() > 0.5 else 1.0)
    beside = random.integers(10, size=2)
    text = f"{beside[0]}{label}{beside[1]}" if random.random() < 0.6 else str(label)
    mask = stroke(text, int(random.integers(27, 33)), random)
    image = Image.fromarray((255 * (wall * (1 - mask) + paint * mask)).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8))))


def digits(count: int, seed: int, domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28, 3) uint8 and balanced labels (N,) int64."""
    labels = np.random.default_rng([seed, DOMAINS.index(domain)]).permutation(np.arange(count) % 10)
    images = [one(int(label), domain, np.random.default_rng([seed, DOMAINS.index(domain), 1 + index]))
              for index, label in enumerate(labels)]
    return np.stack(images), labels.astype(np.int64)


def write_digits(root: Path, domain: str, split: str, count: int, seed: int) -> None:
    """Write root/digits/<domain>/<split>/00000.png … and the CSV beside the folder, as the course does."""
    images, labels = digits(count, seed, domain)
    _write_split(root / "digits" / domain / split, images, ["label"], [[label] for label in labels.tolist()])


def _write_split(folder: Path, images: Iterable[np.ndarray], columns: Sequence[str],
                 values: Sequence[Sequence[int]]) -> None:
    """Write a folder of images and its CSV; a failure leaves no partial set. Raises InputError, instead of
    overwriting, if the folder or the CSV exists with other content."""
    names = [f"{index:05}.png" for index in range(len(values))]
    text = to_csv([["image_name", *columns],
                   *([name, *row] for name, row in zip(names, values, strict=True))])
    table = folder.with_name(f"{folder.name}.csv")
    make_folder(folder)
    folder = Path(os.path.realpath(folder))
    part = folder.with_name(f".{folder.name}.part")
    ours = table.is_file() and read_bytes(table) == text.encode() and set(os.listdir(folder)) <= set(names)
    if not ours and (table.exists() or os.listdir(folder)):
        raise InputError(f"{folder} or its CSV already exists with other content; remove both or choose "
                         "another --to")
    shutil.rmtree(part, ignore_errors=True)
    make_folder(part)
    try:
        for name, image in zip(names, images, strict=True):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            write(part / name, png.getvalue(), tidy=False)
        write(table, text)
        shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def face(has: dict[str, int], random: np.random.Generator) -> np.ndarray:
    """(64, 64, 3) uint8: a schematic face that shows some of the attributes."""
    canvas = Image.fromarray((255 * np.repeat(np.repeat(texture(random, 3, 0.2), 5, 0), 5, 1)[:128, :128])
                             .astype(np.uint8))
    draw, x, y = ImageDraw.Draw(canvas), 64 + random.uniform(-4, 4), 68 + random.uniform(-4, 4)
    shade = random.uniform(0.6, 1)
    skin = tuple(int(shade * value) for value in (235, 190, 160))
    colours = [name for name in HAIR if has[name]] or ["Brown_Hair"]
    draw.ellipse([x - 46, y - 62, x + 46, y + (50 if has["Wavy_Hair"] else 20)], fill=HAIR[colours[0]])
    draw.ellipse([x - 36, y - 48, x + 36, y + 50], fill=skin)
    if has["Bangs"]:
        draw.chord([x - 36, y - 48, x + 36, y + 50], 205, 335, fill=HAIR[colours[0]])
    for side in (-15, 15):
        draw.ellipse([x + side - 6, y - 14, x + side + 6, y - 6], fill=(250, 250, 250))
        draw.ellipse([x + side - 3, y - 13, x + side + 3, y - 7], fill=(40, 30, 30))
    draw.line([x, y - 4, x - 3, y + 10, x + 3, y + 10], fill=tuple(int(0.8 * value) for value in skin),
              width=2)
    lips = (190, 30, 50) if has["Wearing_Lipstick"] else (150, 80, 80)
    if has["Smiling"]:
        teeth = (250, 245, 240) if has["Mouth_Slightly_Open"] else lips
        draw.chord([x - 18, y + 4, x + 18, y + 36], 20, 160, fill=teeth, outline=lips, width=2)
    else:
        draw.line([x - 13, y + 26, x + 13, y + 26], fill=lips, width=5 if has["Big_Lips"] else 3)
    return np.asarray(canvas.resize((64, 64), Image.Resampling.BOX))


def write_faces(root: Path, split: str, count: int, seed: int) -> None:
    """Write root/face/<split>/00000.png … and the CSV of attributes beside the folder."""
    images, values = [], []
    for index in range(count):
        random = np.random.default_rng([seed, len(DOMAINS), index])
        has = {name: int(random.integers(2)) for name in ATTRIBUTES}
        images.append(face(has, random))
        values.append(list(has.values()))
    _write_split(root / "face" / split, images, ATTRIBUTES, values)


def main() -> None:
    parser = Parser(prog="python -m common.synthetic", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder to create, in the layout of hw3_data")
    parser.add_argument("--count", type=whole(1, 100_000), default=500, help="images per split")
    parser.add_argument("--seed", type=whole(), default=0, help="random seed")
    args = parser.parse_args()
    make_folder(args.to)
    with only_one(args.to, "another process is writing images to it"):
        for domain in DOMAINS:
            for number, split in enumerate(("train", "test")):
                write_digits(args.to, domain, split, args.count, 2 * args.seed + number)
        for number, split in enumerate(("train", "test")):
            write_faces(args.to, split, args.count, 2 * args.seed + number)
    print(f"{args.to}: {4 * args.count} digits, {2 * args.count} faces")


if __name__ == "__main__":
    run_main(main)
