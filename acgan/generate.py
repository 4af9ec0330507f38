"""Generate pairs of faces with a trained ACGAN:
`python -m acgan.generate --figure OUT_DIR` writes fig2_2.jpg.

The figure shows the first 10 pairs of one seed, without selection: the first row with the attribute, the
second row the same noise without it. `--strip FILE` interpolates between the two in five steps.
`--pairs DIR --count 1000` writes one PNG per face, DIR/with/00000.png and DIR/without/00000.png, and
overwrites faces of the same names; folders that contain other images are refused.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from acgan.models import Generator, noise
from acgan.options import Options
from acgan.train import pairs, with_class
from common.cli import InputError, Parser, real, run_main, whole
from common.device import choose_device
from common.figures import (
    MOST,
    PART,
    add_arguments,
    check_faces,
    check_picture,
    figure_path,
    grid,
    save_faces,
    save_picture,
)
from common.weights import load_into, load_weights

WEIGHTS = Path(__file__).parent / "weights" / "acgan-smiling.safetensors"
SIDES = ("with", "without")


def load_generator(weights: Path, device: torch.device) -> tuple[Generator, float]:
    """The generator of a weights file, in evaluation mode, and the strength at which its pairs are shown."""
    state, options, _ = load_weights(weights, "acgan.train", Options, "width", "strength")
    generator = Generator(options.width, size=options.size, late=options.network == "default")
    load_into(generator, state, weights)
    return generator.eval().to(device), options.strength


def strip(generator: Generator, z: Tensor, strength: float, steps: int = 5) -> Tensor:
    """z (N, 100) → uint8 (steps·N, 3, H, W): N faces without the attribute, then with more and more of it."""
    values = torch.linspace(0.5 - strength / 2, 0.5 + strength / 2, steps).tolist()
    return torch.cat([with_class(generator, z, value) for value in values])


def main() -> None:
    parser = Parser(prog="python -m acgan.generate", description=__doc__)
    outputs = add_arguments(parser, "fig2_2.jpg", WEIGHTS)
    outputs.add_argument("--strip", type=Path, metavar="FILE",
                         help="write faces of 10 noise vectors, from without to with the attribute, "
                              "in five rows")
    outputs.add_argument("--pairs", type=Path, metavar="DIR",
                         help="write --count pairs to this folder as PNG")
    parser.add_argument("--count", type=whole(1, MOST), help="number of pairs for --pairs (default: 1000)")
    parser.add_argument("--strength", type=real(least=-100, most=100),
                        help="difference between the class values of a pair (default: "
                             "that of the released run)")
    args = parser.parse_args()
    count = args.count or 1000
    if args.figure:
        path = figure_path(args.figure, "fig2_2.jpg")
        if args.count:
            raise InputError("--count applies to --pairs; the figure has 10 pairs")
    elif args.strip:
        check_picture(args.strip)
    else:
        for name in SIDES:
            check_faces(args.pairs / name, count)

    generator, strength = load_generator(args.weights, choose_device(args.device))
    strength = strength if args.strength is None else args.strength
    if args.figure:
        save_picture(path, grid(pairs(generator, noise(10, args.seed), strength).flatten(0, 1), 10))
        return
    if args.strip:
        save_picture(args.strip, grid(strip(generator, noise(10, args.seed), strength), 10))
        return
    for part, z in enumerate(noise(count, args.seed).split(PART)):
        for name, faces in zip(SIDES, pairs(generator, z, strength), strict=True):
            save_faces(args.pairs / name, faces, part * PART)


if __name__ == "__main__":
    run_main(main)
