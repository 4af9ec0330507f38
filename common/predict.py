"""Classify a folder of images: the implementation of `python -m dann.predict` and
`python -m adda.predict`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import ImageColor

from common.classify import predict_classes, write_predictions
from common.cli import InputError, Parser
from common.datasets import listing, read_images
from common.device import choose_device
from common.domains import DOMAINS
from common.files import check_writable
from common.weights import classes_of

# (weights file, device) → network in evaluation mode, and its card
Loader = Callable[[Path, torch.device], tuple[Any, dict[str, Any]]]


def program(package: str, description: str | None, load_network: Loader,
            released: Callable[[str], Path]) -> None:
    """Classify all images of a folder with the network released for a target domain, and write a CSV."""
    parser = Parser(prog=f"python -m {package}.predict", description=description)
    parser.add_argument("image_dir", type=Path, metavar="IMAGE_DIR",
                        help="folder of images, without sub-folders")
    parser.add_argument("target", metavar="TARGET",
                        help="domain of the images: mnistm, svhn, or with --weights any name")
    parser.add_argument("out_csv", type=Path, metavar="OUT_CSV",
                        help="CSV to write, with the columns image_name,label")
    parser.add_argument("--weights", type=Path, help="weights to use instead of the released ones")
    parser.add_argument("--background", type=colour, default="white", metavar="COLOUR",
                        help="background of transparent images: the name of a colour, or #rrggbb")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.target not in DOMAINS and not args.weights:
        parser.error(f"TARGET is mnistm or svhn, not {args.target!r}; other domains need the --weights of a "
                     "training")
    weights = args.weights or released(args.target)
    check_writable(args.out_csv)
    check_is_no_input(args.out_csv, args.image_dir, weights)

    device = choose_device(args.device)
    network, card = load_network(weights, device)
    # no cache: the CSV should be the only file written
    images, names = read_images(args.image_dir, cache=False, background=args.background)
    write_predictions(args.out_csv, names, predict_classes(network, images.to(device)),
                      classes_of(card, weights))


def colour(text: str) -> tuple[int, int, int]:
    """An argparse type: red, green and blue from 0 to 255, given as a name or #rrggbb."""
    with contextlib.suppress(ValueError):
        red, green, blue, *alpha = ImageColor.getrgb(text)
        if not alpha:
            return min(red, 255), min(green, 255), min(blue, 255)
    raise argparse.ArgumentTypeError(f"must be the name of a colour or #rrggbb, not {text!r}")


def check_is_no_input(out_csv: Path, image_dir: Path, weights: Path) -> None:
    """Raises InputError if the CSV would overwrite an input image or the weights."""
    if not out_csv.is_file():
        return
    inode = out_csv.stat().st_ino
    images = [image_dir / name for name, _, _, _, node in listing(image_dir) if node == inode]
    for path in (*images, weights, weights.with_suffix(".json")):
        if path.exists() and path.samefile(out_csv):
            raise InputError(f"{out_csv} is the input file {path}; choose another output file")
