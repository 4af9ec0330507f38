"""t-SNE of test features of both domains: `python -m dann.visualize --target svhn --data hw3_data --output figures/dann_svhn.png`.

The features are what the domain classifier saw in training. One embedding is fitted to both domains' *test* images together
and drawn twice: coloured by digit and by domain. Labels give the colours and a balanced sample, nothing else.
"""

from __future__ import annotations

from pathlib import Path

import torch

from common import tsne
from common.cli import Parser, run_main
from common.datasets import read_split
from common.device import choose_device
from dann.options import DOMAINS
from dann.predict import load_network, released

TITLES = {"mnistm": "MNIST-M", "svhn": "SVHN"}


def main() -> None:
    parser = Parser(prog="python -m dann.visualize", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--weights", type=Path, help="weights.safetensors of a run")
    which.add_argument("--target", choices=DOMAINS, help="the released network adapted to that domain")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    parser.add_argument("--output", type=Path, default=Path("tsne.png"), help="picture to write")
    parser.add_argument("--count", type=int, default=1000, help="test images of each domain, every digit equally often")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and of t-SNE")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()

    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)
    options = card["options"]
    features, labels, is_target = [], [], []
    for domain in (options["source"], options["target"]):
        split = read_split(args.data, domain, "test", labelled=True)
        assert split.labels is not None
        index = tsne.balanced_sample(split.labels, args.count, args.seed)
        with torch.inference_mode():
            features.append(network.features(split.images[index].to(device).float() / 255).cpu())
        labels.append(split.labels[index])
        is_target.append(torch.full((len(index),), domain == options["target"]))
    points = tsne.embed(torch.cat(features), args.seed)
    names = (f"{TITLES[options['source']]} (source)", f"{TITLES[options['target']]} (target)")
    method = options["method"].replace("dann", "DANN")
    title = f"{method}, {TITLES[options['source']]} → {TITLES[options['target']]}: t-SNE of test features"
    tsne.draw(args.output, points, torch.cat(labels).numpy(), torch.cat(is_target).numpy(), names, title)
    print(f"{args.output}: {len(points)} test images")


if __name__ == "__main__":
    run_main(main)
