"""Accuracy of trained networks on a test split:
`python -m dann.evaluate --weights RUN/weights.safetensors --data hw3_data`.

Prints accuracy, per-class accuracy and the confusion matrix on the target's test images (or those of
--domain), and writes them as JSON where --json names a file.
"""

from __future__ import annotations

from torch import nn

from common import evaluate
from common.cli import run_main
from common.device import choose_device
from common.domains import read_split
from common.ema import estimate_statistics
from common.views import plain_batches
from dann.predict import load_network, released


def main() -> None:
    parser = evaluate.arguments("dann", __doc__)
    parser.add_argument("--adabn", action="store_true",
                        help="also re-estimate BatchNorm statistics on that domain's training images, "
                        "without labels")
    args = parser.parse_args()
    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)

    measured: dict[str, nn.Module] = {"": network}
    if args.adabn:
        images = read_split(args.data, args.domain or card["options"]["target"], "train",
                            labelled=False).images[:10_000]
        measured["AdaBN"] = estimate_statistics(network, plain_batches(images.to(device)))
    evaluate.program(args, weights, network, card, device, measured)


if __name__ == "__main__":
    run_main(main)
