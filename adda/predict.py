"""A folder of images → a CSV of digits: `python -m adda.predict IMAGE_DIR TARGET OUT_CSV`, run by hw3_p4.sh.

Takes the released network adapted to TARGET (or the one of --weights), reads the images and nothing else, and
writes one row for each image file, sorted by name.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from adda.models import Adapted, build
from adda.options import Options
from common import predict
from common.cli import run_main
from common.domains import other
from common.weights import classes_of, load_into, load_weights

WEIGHTS = Path(__file__).parent / "weights"


def released(target: str) -> Path:
    """The weights of the default recipe, ADDA and self-training, that are adapted to that domain."""
    return WEIGHTS / f"adda-st-{other(target)}-{target}.safetensors"


def load_network(weights: Path, device: torch.device) -> tuple[Adapted, dict[str, Any]]:
    """The networks of a weights file in evaluation mode, and its card."""
    state, options, card = load_weights(weights, "adda.train", Options, "network", "width")
    network = empty(options, len(classes_of(card, weights)))
    load_into(network, state, weights)
    return network.eval().to(device), card


def empty(options: Options, classes: int = 10) -> Adapted:
    """The networks that these options name, with random weights."""
    source, _ = build(options.network, options.width, classes=classes)
    return Adapted(source, copy.deepcopy(source))


def main() -> None:
    predict.program("adda", __doc__, load_network, released)


if __name__ == "__main__":
    run_main(main)
