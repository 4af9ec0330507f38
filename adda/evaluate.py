"""Accuracy of trained networks on a test split:
`python -m adda.evaluate --weights RUN/weights.safetensors --data hw3_data`.

Prints accuracy, per-class accuracy and the confusion matrix on the target's test images (or those of
--domain), and writes them as JSON where --json names a file. Where the run folder holds checkpoints of
self-training, an `oracle` line says what choosing among them by target labels would have given. That is no
result: a method that adapts has no such labels.
"""

from __future__ import annotations

from adda.predict import load_network, released
from common import evaluate
from common.cli import run_main
from common.device import choose_device


def main() -> None:
    args = evaluate.arguments("adda", __doc__).parse_args()
    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)
    # only the source's network has that domain's statistics
    domain = args.domain or card["options"]["target"]
    measured = network.source if domain == card["options"]["source"] else network
    evaluate.program(args, weights, network, card, device, {"": measured})


if __name__ == "__main__":
    run_main(main)
