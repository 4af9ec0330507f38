"""t-SNE of test features of both domains: `python -m adda.visualize --target svhn --data hw3_data --output figures/adda_svhn.png`.

Each domain's features come from its own encoder, as the discriminator saw them in training. One embedding, drawn twice: coloured
by digit and by domain.
"""

from __future__ import annotations

from torch import Tensor

from adda.models import Adapted
from adda.predict import load_network, released
from common import visualize
from common.cli import run_main

TITLES = {"adda": "ADDA", "adda+st": "ADDA + self-training"}


def features_of(network: Adapted, images: Tensor, is_target: bool) -> Tensor:
    """(N, 3, 28, 28) → (N, D), by the domain's own encoder."""
    return (network.target if is_target else network.source).features(images)


def main() -> None:
    visualize.program("adda", __doc__, load_network, released, features_of, TITLES)


if __name__ == "__main__":
    run_main(main)
