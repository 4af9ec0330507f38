"""Accuracy of a trained network on a test split: the program behind `python -m dann.evaluate` and
`python -m adda.evaluate`.

Only these programs and the colours of the t-SNE pictures read target labels; no training does.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.classify import predict_classes, report, table
from common.cli import Parser
from common.criteria import of_network
from common.datasets import ImageSet, content_hash
from common.domains import DOMAINS, read_split
from common.files import check_writable, write
from common.weights import card_of, classes_of, load_into, load_tensors, save_card, save_weights

CRITERIA = 2000  # target images for the label-free criteria


def arguments(package: str, description: str | None) -> Parser:
    """The parser of `python -m <package>.evaluate`."""
    parser = Parser(prog=f"python -m {package}.evaluate", description=description)
    add_network(parser)
    parser.add_argument("--domain", help="classify this domain (default: the network's target)")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which part of it")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    parser.add_argument("--save", type=Path, metavar="FILE",
                        help="copy weights and card, with these figures in it, to FILE "
                        "(.safetensors; a name that ends in .json keeps the card alone)")
    return parser


def add_network(parser: argparse.ArgumentParser) -> None:
    """Options that name a trained network, the data and the device."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--weights", type=Path, help="weights.safetensors of a run")
    which.add_argument("--target", choices=DOMAINS, help="the released network adapted to that domain")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="folder that scripts.prepare_data made")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def measure(network: nn.Module, split: ImageSet, device: torch.device) -> dict[str, Any]:
    """Accuracy and confusion matrix of a network on labelled images, by `common.classify.report`."""
    assert split.labels is not None
    return report(predict_classes(network, split.images.to(device)).cpu(), split.labels, len(split.classes))


def program(args: argparse.Namespace, weights: Path, network: nn.Module, card: dict[str, Any],
            device: torch.device, measured: dict[str, nn.Module]) -> None:
    """Measure the named networks (one of them is "", the result itself), print the figures, and write the
    files that were requested. `network` is what --save writes."""
    for path in (args.json, args.save):
        if path:
            check_writable(path)
    if args.save and args.save.suffix != ".json":
        card_of(args.save)
    options = card["options"]
    domain = args.domain or options["target"]
    split = read_split(args.data, domain, args.split, labelled=True, classes=classes_of(card, weights))
    images = content_hash(split.images)  # identifies the test set
    results = {f"{domain} {args.split}{name and ', ' + name}":
               {**measure(each, split, device), "images": images} for name, each in measured.items()}
    if domain == options["target"]:  # the report compares these with the accuracy
        results[f"{domain} {args.split}"]["criteria"] = of_network(
            network, split.images[:CRITERIA].to(device))
    print(f"{weights}: {options['method']}, {options['source']} -> {options['target']}")
    for title, figures in results.items():
        print(f"{title}: {table(figures, split.classes)}")
    if domain == options["target"] and (
            accuracies := oracle(weights.parent / "checkpoints", network, split, device)):
        best = max(accuracies, key=accuracies.__getitem__)
        print(f"oracle (uses target labels, not a result): {accuracies[best]:.2f} % after {best} of "
              f"{max(accuracies)} steps; the result is the last step's")
        results[f"{domain} {args.split}"]["after steps"] = accuracies
    if args.json:
        write(args.json, json.dumps(results, indent=2) + "\n")
    if args.save and args.save.suffix == ".json":
        save_card(args.save, with_metrics(card, results))
    elif args.save:
        # released weights are those of the last step; their card holds no accuracies of other steps
        results[f"{domain} {args.split}"].pop("after steps", None)
        save_weights(args.save, network, with_metrics(card, results))


def with_metrics(card: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """The card with these results added or replaced."""
    return {**card, "metrics": {**card.get("metrics", {}), **results}}


def oracle(folder: Path, network: nn.Module, split: ImageSet, device: torch.device) -> dict[int, float]:
    """Accuracy of each checkpoint of a run, by its step. Choosing the best one means choosing by test labels,
    so it is not a result."""
    network, accuracies = copy.deepcopy(network), {}
    for file in sorted(folder.glob("*.safetensors")):
        load_into(network, load_tensors(file), file)
        accuracies[int(file.stem)] = measure(network, split, device)["accuracy"]
    return accuracies
