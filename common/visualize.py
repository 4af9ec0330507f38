"""t-SNE of the features of both domains, for `python -m dann.visualize` and `python -m adda.visualize`.

One embedding is fitted to the *test* images of both domains and plotted twice, coloured by digit and by
domain. Labels are used only for the colours and for a balanced sample. The points are also written as JSON,
with the prediction for each image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common import tsne
from common.cli import InputError, Parser, whole
from common.device import choose_device
from common.domains import read_split, title
from common.evaluate import add_network
from common.files import check_writable, read_bytes, write
from common.predict import Loader
from common.views import plain
from common.weights import classes_of

# (network, whether images are from the target) → their module, with `features` and class logits
Part = Callable[[Any, bool], Any]


def program(package: str, description: str | None, load_network: Loader, released: Callable[[str], Path],
            network_of: Part, titles: dict[str, str]) -> None:
    """Plot the features of a network; `titles` maps methods to their names in the title."""
    parser = Parser(prog=f"python -m {package}.visualize", description=description)
    add_network(parser)
    parser.add_argument("--output", type=Path, default=Path("tsne.png"),
                        help="tsne.png writes tsne_digit.png, tsne_domain.png and tsne.json")
    parser.add_argument("--count", type=whole(10, 10**6), default=1000,
                        help="test images per domain, balanced by digit")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0,
                        help="random seed of the sample and of t-SNE")
    args = parser.parse_args()

    for path in outputs(args.output):
        check_writable(path)
    device = choose_device(args.device)
    weights = args.weights or released(args.target)
    network, card = load_network(weights, device)
    paths = draw(network, weights, card, network_of, titles, args.data, device, args.output,
                 args.count, args.seed)
    print("{}, {} and {}".format(*paths))


def outputs(output: Path) -> list[Path]:
    """tsne.png → tsne_digit.png, tsne_domain.png, tsne.json."""
    if output.suffix.lower() != ".png" or output.is_dir():
        raise InputError(f"{output} does not end in .png; choose a file name that does")
    return [output.with_stem(f"{output.stem}_digit"), output.with_stem(f"{output.stem}_domain"),
            output.with_suffix(".json")]


def draw(network: Any, weights: Path, card: dict[str, Any], network_of: Part, titles: dict[str, str],
         data: Path, device: torch.device, output: Path, count: int, seed: int) -> list[Path]:
    """Write a joint embedding of both domains' test features as two plots and as points → the three paths."""
    options, classes = card["options"], classes_of(card, weights)
    features, predicted, labels, is_target = [], [], [], []
    domains = (options["source"], options["target"])
    for domain in domains:
        split = read_split(data, domain, "test", labelled=True, classes=classes)
        assert split.labels is not None
        index = tsne.balanced_sample(split.labels, count, seed)
        images, part = plain(split.images[index].to(device)), network_of(network, domain == domains[1])
        with torch.inference_mode():
            features.append(part.features(images).cpu())
            predicted.append(part(images).argmax(1).cpu())
        labels.append(split.labels[index])
        is_target.append(torch.full((len(index),), int(domain == domains[1])))
    points = tsne.embed(torch.cat(features), seed)
    heading = (f"{titles.get(options['method'], options['method'])}, {' → '.join(map(title, domains))}, "
               "test images")
    paths = outputs(output)
    tsne.draw(paths[0], points, torch.cat(labels).numpy(), classes, True, heading)
    names = [f"{title(domain)}\n({role})" for domain, role in zip(domains, ("source", "target"), strict=True)]
    tsne.draw(paths[1], points, torch.cat(is_target).numpy(), names, False, heading)
    columns = {"x": points[:, 0], "y": points[:, 1], "digit": torch.cat(labels),
               "predicted": torch.cat(predicted), "is target": torch.cat(is_target)}
    save_points(paths[2], weights, options, columns)
    return paths


def save_points(path: Path, weights: Path, options: dict[str, Any], columns: dict[str, Any]) -> None:
    """Write columns of N numbers as JSON, one per line, after method, domains and the weights' hash."""
    content = {**{name: options[name] for name in ("method", "source", "target")}, "weights": sha256(weights)}
    content |= {name: [round(value, 1) for value in column.tolist()] for name, column in columns.items()}
    lines = [f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}"
             for name, value in content.items()]
    write(path, "{" + ",\n".join(lines) + "}\n")


def sha256(weights: Path) -> str:
    """The SHA-256 of a weights file."""
    return hashlib.sha256(read_bytes(weights)).hexdigest()
