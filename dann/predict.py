"""A folder of images → a CSV of digits: `python -m dann.predict IMAGE_DIR TARGET OUT_CSV`, which hw3_p3.sh calls.

Takes the released network adapted to TARGET (or the one of --weights), reads the images and nothing else, and writes one row
for each image file, sorted by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from common.classify import predict_classes, write_predictions
from common.cli import InputError, Parser, run_main
from common.datasets import read_images
from common.device import choose_device
from common.weights import load_into, load_weights
from dann.models import DANN, build
from dann.options import DOMAINS, other

WEIGHTS = Path(__file__).parent / "weights"


def released(target: str) -> Path:
    """The weights of the default recipe that are adapted to that domain."""
    return WEIGHTS / f"dann-{other(target)}-{target}.safetensors"


def load_network(weights: Path, device: torch.device) -> tuple[DANN, dict[str, Any]]:
    """The network of a weights file in evaluation mode, and its card."""
    state, card = load_weights(weights)
    network = build(*(card["options"][name] for name in ("network", "width", "conditional")))
    load_into(network, state, weights)
    return network.eval().to(device), card


def main() -> None:
    parser = Parser(prog="python -m dann.predict", description=__doc__)
    parser.add_argument("image_dir", type=Path, metavar="IMAGE_DIR", help="folder of images; all are read")
    parser.add_argument("target", choices=DOMAINS, metavar="TARGET", help="the images' domain: mnistm or svhn")
    parser.add_argument("out_csv", type=Path, metavar="OUT_CSV", help="file to write: image_name,label")
    parser.add_argument("--weights", type=Path, help="another network than the released one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    check_writable(args.out_csv)

    device = choose_device(args.device)
    network, _ = load_network(args.weights or released(args.target), device)
    # no cache: grading leaves nothing behind but the CSV
    images, names = read_images(args.image_dir, cache=False)
    write_predictions(args.out_csv, names, predict_classes(network, images.to(device)))


def check_writable(path: Path) -> None:
    """InputError before any work where the CSV could not be written after it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the CSV file to write")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")


if __name__ == "__main__":
    run_main(main)
