"""Pairs from a trained generator: `python -m acgan.generate --figure OUT_DIR` writes fig2_2.jpg.

The figure shows the first 10 pairs of one seed, unpicked: the first row with the attribute, the second the same noise without it.
`--pairs DIR --count 1000` writes single PNGs, DIR/with/00000.png and DIR/without/00000.png.
"""

from __future__ import annotations

from pathlib import Path

import torch

from acgan.models import Generator, noise
from acgan.train import pairs
from common.cli import Parser, run_main
from common.device import choose_device
from common.figures import add_arguments, figure_path, grid, save_faces, save_picture
from common.weights import load_into, load_weights

WEIGHTS = Path(__file__).parent / "weights" / "acgan-smiling.safetensors"


def load_generator(weights: Path, device: torch.device) -> tuple[Generator, float]:
    """The generator of a weights file in evaluation mode, and the strength that its pairs are shown with."""
    state, card = load_weights(weights)
    generator = Generator(card["options"]["width"])
    load_into(generator, state, weights)
    return generator.eval().to(device), card["options"]["strength"]


def main() -> None:
    parser = Parser(prog="python -m acgan.generate", description=__doc__)
    what = add_arguments(parser, "fig2_2.jpg", WEIGHTS)
    what.add_argument("--pairs", type=Path, metavar="DIR", help="write --count pairs there, as PNG")
    parser.add_argument("--count", type=int, default=1000, help="pairs of --pairs")
    parser.add_argument("--strength", type=float, help="how far apart the classes' values are (default: as released)")
    args = parser.parse_args()
    path = figure_path(args.figure, "fig2_2.jpg") if args.figure else None

    generator, strength = load_generator(args.weights, choose_device(args.device))
    strength = strength if args.strength is None else args.strength
    if path:
        save_picture(path, grid(pairs(generator, noise(10, args.seed), strength).flatten(0, 1), 10))
        return
    for name, faces in zip(("with", "without"), pairs(generator, noise(args.count, args.seed), strength), strict=True):
        save_faces(args.pairs / name, faces)


if __name__ == "__main__":
    run_main(main)
