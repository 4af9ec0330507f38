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
from common.cli import Parser
from common.datasets import read_split
from common.device import choose_device
from common.domains import TITLES
from common.evaluate import add_network
from common.predict import Loader
from common.views import plain


def program(package: str, description: str | None, load_network: Loader, released: Callable[[str], Path],
            features_of: Callable[[Any, Tensor, bool], Tensor], titles: dict[str, str]) -> None:
    """Draw the features that `features_of(network, images, is target)` gives for images (N, 3, 28, 28) in [0, 1]; `titles` are
    the methods' names in print."""
    parser = Parser(prog=f"python -m {package}.visualize", description=description)
    add_network(parser)
    parser.add_argument("--output", type=Path, default=Path("tsne.png"), help="picture to write")
    parser.add_argument("--count", type=int, default=1000, help="test images of each domain, every digit equally often")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and of t-SNE")
    args = parser.parse_args()

    device = choose_device(args.device)
    network, card = load_network(args.weights or released(args.target), device)
    options = card["options"]
    features, labels, is_target = [], [], []
    for domain in (options["source"], options["target"]):
        split = read_split(args.data, domain, "test", labelled=True)
        assert split.labels is not None
        index = tsne.balanced_sample(split.labels, args.count, args.seed)
        with torch.inference_mode():
            features.append(features_of(network, plain(split.images[index].to(device)), domain == options["target"]).cpu())
        labels.append(split.labels[index])
        is_target.append(torch.full((len(index),), domain == options["target"]))
    points = tsne.embed(torch.cat(features), args.seed)
    names = (f"{TITLES[options['source']]} (source)", f"{TITLES[options['target']]} (target)")
    method = options["method"]
    title = f"{titles.get(method, method)}, {TITLES[options['source']]} → {TITLES[options['target']]}: t-SNE of test features"
    tsne.draw(args.output, points, torch.cat(labels).numpy(), torch.cat(is_target).numpy(), names, title)
    print(f"{args.output}: {len(points)} test images")
