"""Accuracy of trained networks on a test split: `python -m dann.evaluate --weights RUN/weights.safetensors --data hw3_data`.

Prints accuracy, per-class accuracy and the confusion matrix on the target's test images (or those of --domain), and writes them
as JSON where --json names a file.
"""

from __future__ import annotations

from common import evaluate
from common.cli import run_main
from common.datasets import read_split
from common.device import choose_device
from common.ema import estimate_statistics
from common.views import plain_batches
from dann.models import DANN
from dann.predict import load_network, released


def main() -> None:
    parser = evaluate.arguments("dann", __doc__)
    parser.add_argument("--adabn", action="store_true",
                        help="also re-estimate BatchNorm statistics on that domain's training images, without labels")
    args = parser.parse_args()
    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)

    def adabn(domain: str) -> DANN:
        images = read_split(args.data, domain, "train", labelled=False).images[:10_000]
        return estimate_statistics(network, plain_batches(images.to(device)))

    evaluate.program(args, weights, network, card, device, {"AdaBN": adabn} if args.adabn else {})


if __name__ == "__main__":
    run_main(main)
