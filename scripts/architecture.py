"""Print the layers of the networks, read from the modules: `python -m scripts.architecture`.

For each layer with weights: definition, output size, number of parameters, multiply-accumulates per image.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import acgan.models
import adda.models
import dann.models
import gan.models
from common.cli import Parser, run_main

WITH_WEIGHTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.Embedding)


def described(layer: nn.Module) -> str:
    """A layer as PyTorch prints it, without the arguments of BatchNorm, which differ between versions."""
    return re.sub(r"(BatchNorm[12]d\(\d+).*", r"\1)", str(layer))


def multiplications(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> int:
    """Multiply-accumulates of a layer for one image. BatchNorm counts as 0, since at inference it can be
    folded into the preceding convolution."""
    if isinstance(layer, nn.Conv2d):
        return outputs[0].numel() * layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        return inputs[0].numel() * layer.weight[0].numel()
    return layer.weight.numel() if isinstance(layer, nn.Linear) else 0


def rows(module: nn.Module, forward: Callable[[], Any]) -> list[tuple[str, str, int, int]]:
    """(definition, output size, parameters, multiply-accumulates) of the layers with weights, in the order of
    `forward`."""
    found: list[tuple[str, str, int, int]] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        size, parameters = "x".join(map(str, outputs.shape[1:])), sum(p.numel() for p in layer.parameters())
        found.append((described(layer), size, parameters, multiplications(layer, inputs[0], outputs)))

    hooks = [layer.register_forward_hook(record) for layer in module.modules()
             if isinstance(layer, WITH_WEIGHTS)]
    with torch.inference_mode():
        forward()
    for hook in hooks:
        hook.remove()
    return found


def networks() -> dict[str, list[tuple[str, str, int, int]]]:
    """The rows of all default networks, and of the report's networks that differ from them."""
    faces, c = torch.zeros(1, 3, 64, 64), torch.zeros(1, dtype=torch.int64)
    digits = torch.zeros(1, 3, 28, 28)
    g, d, ag, ad = (gan.models.Generator(), gan.models.Discriminator(),
                    acgan.models.Generator(), acgan.models.Discriminator())
    found = {"DCGAN, generator": rows(g, lambda: g.eval()(gan.models.noise(1, 0))),
             "DCGAN, discriminator": rows(d, lambda: d.eval()(faces)),
             "ACGAN, generator": rows(ag, lambda: ag.eval()(acgan.models.noise(1, 0), c)),
             "ACGAN, discriminator": rows(ad, lambda: ad.eval()(faces))}
    for kind in ("default", "report"):
        network = dann.models.build(kind).eval()
        found[f"DANN, {kind}"] = rows(
            network, lambda network=network: _with_heads(network, digits))  # type: ignore[misc]
        classifier, discriminator = (part.eval() for part in adda.models.build(kind))

        def both(classifier: Any = classifier, discriminator: Any = discriminator) -> None:
            features = classifier.features(digits)
            discriminator(features, classifier.classifier(features))

        found[f"ADDA, {kind}: encoder, classifier, discriminator"] = rows(
            nn.ModuleList([classifier, discriminator]), both)
    return found


def _with_heads(network: dann.models.DANN, digits: Tensor) -> None:
    features = network.features(digits)
    network.domain_logits(features, network.classifier(features), 1.0)


def tables(found: dict[str, list[tuple[str, str, int, int]]]) -> dict[str, str]:
    """A Markdown table for each network."""
    parts = {}
    for title, layers in found.items():
        head = (f"**{title}**: {sum(row[2] for row in layers):,} parameters, "
                f"{sum(row[3] for row in layers) / 1e6:.1f} M multiply-accumulates per image\n\n"
                "| layer | output | parameters | multiply-accumulates |\n|---|---|---|---|\n")
        parts[title] = head + "\n".join(f"| `{name}` | {size} | {count:,} | {macs:,} |"
                                        for name, size, count, macs in layers)
    return parts


def main() -> None:
    Parser(prog="python -m scripts.architecture", description=__doc__).parse_args()
    print("\n\n".join(tables(networks()).values()))


if __name__ == "__main__":
    run_main(main)
