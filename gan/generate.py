"""Generate faces with a trained DCGAN: `python -m gan.generate --figure OUT_DIR` writes fig1_2.jpg.

The figure shows the first 32 faces of one seed, 8 per row, without selection. `--sheet FILE` writes the first
200 faces as one picture. `--count 1000 --output DIR` writes one PNG per face and overwrites faces of the same
names; a folder that contains other images is refused. `--interpolate strip.png` writes an interpolation
between the first noise vectors of the seed (with .gif, an animation).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from common.cli import InputError, Parser, run_main, whole
from common.device import choose_device
from common.faces import to_images
from common.figures import (
    MOST,
    PART,
    add_arguments,
    check_faces,
    check_height,
    check_picture,
    figure_path,
    grid,
    save_faces,
    save_picture,
    save_walk,
    walk,
)
from common.weights import load_into, load_weights
from gan.models import Generator, noise
from gan.options import Options

WEIGHTS = Path(__file__).parent / "weights" / "dcgan.safetensors"


def load_generator(weights: Path, device: torch.device) -> Generator:
    """Load the generator of a weights file, in evaluation mode."""
    state, options, _ = load_weights(weights, "gan.train", Options, "width")
    generator = Generator(options.width, size=options.size)
    load_into(generator, state, weights)
    return generator.eval().to(device)


def generate(generator: Generator, z: Tensor, batch: int = 50) -> Tensor:
    """z (N, 101) → uint8 (N, 3, size, size) on the CPU. In evaluation mode, no face affects another."""
    device = next(generator.parameters()).device
    with torch.inference_mode():
        return torch.cat([to_images(generator(part.to(device))).cpu() for part in z.split(batch)])


def main() -> None:
    parser = Parser(prog="python -m gan.generate", description=__doc__)
    outputs = add_arguments(parser, "fig1_2.jpg", WEIGHTS)
    outputs.add_argument("--output", type=Path, metavar="DIR",
                         help="write --count faces to this folder, one PNG each")
    outputs.add_argument("--sheet", type=Path, metavar="FILE",
                         help="write --count faces (default: 200) as one picture, 20 per row")
    outputs.add_argument("--interpolate", type=Path, metavar="FILE",
                         help="write an interpolation between noise vectors, with --count steps")
    parser.add_argument("--count", type=whole(1, MOST),
                        help="number of faces or of interpolation steps (default: 1000; with --sheet 200)")
    args = parser.parse_args()
    count = args.count or (200 if args.sheet else 1000)
    if args.figure:
        path = figure_path(args.figure, "fig1_2.jpg")
        if args.count:
            raise InputError("--count applies to --output, --sheet and --interpolate; "
                             "the figure has 32 faces")
    elif args.output:
        check_faces(args.output, count)
    elif args.sheet:
        check_picture(args.sheet)
    else:
        check_picture(args.interpolate, ".gif")

    generator = load_generator(args.weights, choose_device(args.device))
    if args.sheet or args.interpolate:
        check_height(args.sheet or args.interpolate, count, 20 if args.sheet else 10, generator.size)
    if args.figure:
        save_picture(path, grid(generate(generator, noise(32, args.seed)), 8))
    elif args.sheet:
        save_picture(args.sheet, grid(generate(generator, noise(count, args.seed)), 20))
    elif args.output:
        for part, z in enumerate(noise(count, args.seed).split(PART)):
            save_faces(args.output, generate(generator, z), part * PART)
    else:
        save_walk(args.interpolate, generate(generator, walk(noise(9, args.seed), count)))


if __name__ == "__main__":
    run_main(main)
