"""t-SNE of the test features of both domains: the program behind `python -m dann.visualize` and `python -m adda.visualize`.

One embedding is fitted to both domains' *test* images together and drawn twice: coloured by digit and by domain. Labels give the
colours and a balanced sample, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import tsne
from common.cli import InputError, Parser, whole
from common.datasets import read_split
from common.device import choose_device
from common.domains import TITLES
from common.evaluate import add_network
from common.files import check_writable
from common.predict import Loader
from common.views import plain

# network, images (N, 3, 28, 28) in [0, 1], whether they are the target's → features (N, D)
Features = Callable[[Any, Tensor, bool], Tensor]


def program(package: str, description: str | None, load_network: Loader, released: Callable[[str], Path], features_of: Features,
            titles: dict[str, str]) -> None:
    """Draw the features that `features_of` gives; `titles` are the methods' names in print."""
    parser = Parser(prog=f"python -m {package}.visualize", description=description)
    add_network(parser)
    parser.add_argument("--output", type=Path, default=Path("tsne.png"), help="tsne.png makes tsne_digit.png and tsne_domain.png")
    parser.add_argument("--count", type=whole(10, 10**6), default=1000, help="test images of each domain, all digits alike")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="of the sample and of t-SNE")
    args = parser.parse_args()

    for path in pictures(args.output):
        check_writable(path)
    device = choose_device(args.device)
    network, card = load_network(args.weights or released(args.target), device)
    paths = draw(network, card["options"], features_of, titles, args.data, device, args.output, args.count, args.seed)
    print(f"{' and '.join(map(str, paths))}")


def pictures(output: Path) -> list[Path]:
    """tsne.png → tsne_digit.png, tsne_domain.png."""
    if output.suffix.lower() != ".png" or output.is_dir():
        raise InputError(f"{output} is not the name of a picture; name one that ends in .png")
    return [output.with_stem(f"{output.stem}_{what}") for what in ("digit", "domain")]


def draw(network: Any, options: dict[str, Any], features_of: Features, titles: dict[str, str], data: Path, device: torch.device,
         output: Path, count: int, seed: int) -> list[Path]:
    """One embedding of both domains' test features, two pictures beside each other's names; their paths."""
    features, labels, is_target = [], [], []
    domains = (options["source"], options["target"])
    for domain in domains:
        split = read_split(data, domain, "test", labelled=True)
        assert split.labels is not None
        index = tsne.balanced_sample(split.labels, count, seed)
        with torch.inference_mode():
            features.append(features_of(network, plain(split.images[index].to(device)), domain == domains[1]).cpu())
        labels.append(split.labels[index])
        is_target.append(torch.full((len(index),), int(domain == domains[1])))
    points = tsne.embed(torch.cat(features), seed)
    title = f"{titles.get(options['method'], options['method'])}, {' → '.join(TITLES[domain] for domain in domains)}, test images"
    paths = pictures(output)
    tsne.draw(paths[0], points, torch.cat(labels).numpy(), [str(digit) for digit in range(10)], True, title)
    names = [f"{TITLES[domain]}\n({role})" for domain, role in zip(domains, ("source", "target"), strict=True)]
    tsne.draw(paths[1], points, torch.cat(is_target).numpy(), names, False, title)
    return paths
