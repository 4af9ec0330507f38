"""Accuracy of a trained network on a test split: the program behind `python -m dann.evaluate` and `python -m adda.evaluate`.

Only these programs and the colours of the t-SNE pictures read target labels; no training does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.classify import predict_classes, report, table
from common.cli import Parser
from common.datasets import read_split
from common.domains import DOMAINS
from common.files import write_atomically
from common.weights import save_card, save_weights


def arguments(package: str, description: str | None) -> Parser:
    """The parser of `python -m <package>.evaluate`."""
    parser = Parser(prog=f"python -m {package}.evaluate", description=description)
    add_network(parser)
    parser.add_argument("--domain", choices=DOMAINS, help="classify this domain (default: the network's target)")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which part of it")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    parser.add_argument("--save", type=Path, metavar="FILE", help="copy weights and card, with these figures in it, to FILE "
                        "(.safetensors; a name that ends in .json keeps the card alone)")
    return parser


def add_network(parser: argparse.ArgumentParser) -> None:
    """Options that name a trained network, the data and the device."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--weights", type=Path, help="weights.safetensors of a run")
    which.add_argument("--target", choices=DOMAINS, help="the released network adapted to that domain")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def measure(network: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> dict[str, Any]:
    """The report of `common.classify` on images (N, 3, 28, 28) uint8."""
    return report(predict_classes(network, images.to(device)).cpu(), labels)


def program(args: argparse.Namespace, weights: Path, network: nn.Module, card: dict[str, Any], device: torch.device,
            measured: dict[str, nn.Module]) -> None:
    """Measure the networks that are named (one of them "", the result itself); print, and write what was asked for. `network` is
    what --save writes."""
    options = card["options"]
    domain = args.domain or options["target"]
    split = read_split(args.data, domain, args.split, labelled=True)
    assert split.labels is not None
    results = {f"{domain} {args.split}{name and ', ' + name}": measure(each, split.images, split.labels, device)
               for name, each in measured.items()}
    print(f"{weights}: {options['method']}, {options['source']} -> {options['target']}")
    for title, figures in results.items():
        print(f"{title}: {table(figures)}")
    if args.json:
        write_atomically(args.json, json.dumps(results, indent=2) + "\n")
    if args.save:
        card = {**card, "metrics": {**card.get("metrics", {}), **results}}
        if args.save.suffix == ".json":
            save_card(args.save, card)
        else:
            save_weights(args.save, network, card)
