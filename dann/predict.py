"""A folder of images → a CSV of digits: `python -m dann.predict IMAGE_DIR TARGET OUT_CSV`, run by hw3_p3.sh.

Takes the released network adapted to TARGET (or the one of --weights), reads the images and nothing else, and
writes one row for each image file, sorted by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from common import predict
from common.cli import run_main
from common.domains import other
from common.weights import classes_of, load_into, load_weights
from dann.models import DANN, build
from dann.options import Options

WEIGHTS = Path(__file__).parent / "weights"


def released(target: str) -> Path:
    """The weights of the default recipe that are adapted to that domain."""
    return WEIGHTS / f"dann-{other(target)}-{target}.safetensors"


def load_network(weights: Path, device: torch.device) -> tuple[DANN, dict[str, Any]]:
    """The network of a weights file in evaluation mode, and its card."""
    state, options, card = load_weights(weights, "dann.train", Options, "network", "width", "conditional")
    network = build(options.network, options.width, options.conditional, len(classes_of(card, weights)))
    load_into(network, state, weights)
    return network.eval().to(device), card


def main() -> None:
    predict.program("dann", __doc__, load_network, released)


if __name__ == "__main__":
    run_main(main)
