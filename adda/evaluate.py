"""Accuracy of trained networks on a test split: `python -m adda.evaluate --weights RUN/weights.safetensors --data hw3_data`.

Prints accuracy, per-class accuracy and the confusion matrix on the target's test images (or those of --domain), and writes them
as JSON where --json names a file. Where the run folder holds checkpoints of self-training, an `oracle` line says what choosing
among them by target labels would have given. That is no result: a method that adapts has no such labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from adda.predict import empty, load_network, released
from common import evaluate
from common.cli import run_main
from common.datasets import read_split
from common.device import choose_device
from common.weights import load_into, load_tensors


def main() -> None:
    args = evaluate.arguments("adda", __doc__).parse_args()
    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)
    # only the source's network has that domain's statistics
    domain = args.domain or card["options"]["target"]
    measured = network.source if domain == card["options"]["source"] else network
    evaluate.program(args, weights, network, card, device, {"": measured})
    oracle(args, weights.parent / "checkpoints", card["options"], device)


def oracle(args: argparse.Namespace, folder: Path, options: dict[str, Any], device: torch.device) -> None:
    """Print the best of the checkpoints, chosen by the labels of the very images that it is measured on."""
    files = sorted(folder.glob("*.safetensors"))
    if not files or args.domain == options["source"]:
        return
    split = read_split(args.data, options["target"], args.split, labelled=True)
    assert split.labels is not None
    network, accuracies = empty(options), {}
    for file in files:
        load_into(network, load_tensors(file), file)
        figures = evaluate.measure(network.eval().to(device), split.images, split.labels, device)
        accuracies[int(file.stem)] = figures["accuracy"]
    best = max(accuracies, key=accuracies.__getitem__)
    print(f"oracle (uses target labels, not a result): {accuracies[best]:.2f} % after {best} of {max(accuracies)} steps of "
          "self-training; the result is the last step's")


if __name__ == "__main__":
    run_main(main)
