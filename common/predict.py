"""A folder of images → a CSV of digits: the program behind `python -m dann.predict` and `python -m adda.predict`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.classify import predict_classes, write_predictions
from common.cli import InputError, Parser
from common.datasets import read_images
from common.device import choose_device
from common.domains import DOMAINS

# weights file and device → network in evaluation mode, and its card
Loader = Callable[[Path, torch.device], tuple[Any, dict[str, Any]]]


def program(package: str, description: str | None, load_network: Loader, released: Callable[[str], Path]) -> None:
    """Classify every image of a folder with the network released for a target domain."""
    parser = Parser(prog=f"python -m {package}.predict", description=description)
    parser.add_argument("image_dir", type=Path, metavar="IMAGE_DIR", help="folder of images; all are read")
    parser.add_argument("target", choices=DOMAINS, metavar="TARGET", help="the images' domain: mnistm or svhn")
    parser.add_argument("out_csv", type=Path, metavar="OUT_CSV", help="file to write: image_name,label")
    parser.add_argument("--weights", type=Path, help="another network than the released one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    check_writable(args.out_csv)

    device = choose_device(args.device)
    network: nn.Module = load_network(args.weights or released(args.target), device)[0]
    # no cache: grading leaves nothing behind but the CSV
    images, names = read_images(args.image_dir, cache=False)
    write_predictions(args.out_csv, names, predict_classes(network, images.to(device)))


def check_writable(path: Path) -> None:
    """InputError before any work where the CSV could not be written after it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the CSV file to write")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
