"""Accuracy of trained networks on a test split: `python -m dann.evaluate --weights RUN/weights.safetensors --data hw3_data`.

Prints accuracy, per-class accuracy and the confusion matrix on the target's test images (or those of --domain), and writes them
as JSON where --json names a file. Only this program and the colours of dann.visualize read target labels; no training does.
"""

from __future__ import annotations

import json
from pathlib import Path

from common.classify import predict_classes, report, table
from common.cli import Parser, run_main
from common.datasets import read_split
from common.device import choose_device
from common.ema import estimate_statistics
from common.files import write_atomically
from common.weights import save_card, save_weights
from dann.options import DOMAINS
from dann.predict import load_network, released


def main() -> None:
    parser = Parser(prog="python -m dann.evaluate", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--weights", type=Path, help="weights.safetensors of a run")
    which.add_argument("--target", choices=DOMAINS, help="the released network adapted to that domain")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    parser.add_argument("--domain", choices=DOMAINS, help="classify this domain (default: the network's target)")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which part of it")
    parser.add_argument("--adabn", action="store_true",
                        help="first re-estimate BatchNorm statistics on that domain's training images, without labels")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--save", type=Path, metavar="FILE", help="copy weights and card, with these figures in it, to FILE "
                        "(.safetensors; a name that ends in .json keeps the card alone)")
    args = parser.parse_args()

    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)
    domain = args.domain or card["options"]["target"]
    test = read_split(args.data, domain, args.split, labelled=True)
    assert test.labels is not None

    figures = report(predict_classes(network, test.images.to(device)).cpu(), test.labels)
    print(f"{weights}: {card['options']['method']}, {card['options']['source']} -> {card['options']['target']}, "
          f"on {domain} {args.split}\n{table(figures)}")
    results = {f"{domain} {args.split}": figures}
    if args.adabn:
        images = read_split(args.data, domain, "train", labelled=False).images[:10_000]
        adapted = estimate_statistics(network, [batch.to(device).float() / 255 for batch in images.split(500)])
        results[f"{domain} {args.split}, AdaBN"] = report(predict_classes(adapted, test.images.to(device)).cpu(), test.labels)
        print(f"with statistics of {domain}'s training images (AdaBN)\n{table(results[f'{domain} {args.split}, AdaBN'])}")
    if args.json:
        write_atomically(args.json, json.dumps(results, indent=2) + "\n")
    if args.save:
        card = {**card, "metrics": {**card.get("metrics", {}), **results}}
        if args.save.suffix == ".json":
            save_card(args.save, card)
        else:
            save_weights(args.save, network, card)


if __name__ == "__main__":
    run_main(main)
