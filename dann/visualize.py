"""t-SNE of test features of both domains: `python -m dann.visualize --target svhn --data hw3_data --output figures/dann_svhn.png`.

The features are those of the feature extractor G_f, which both heads see. One embedding, drawn twice: coloured by digit and by
domain.
"""

from __future__ import annotations

from torch import Tensor

from common import visualize
from common.cli import run_main
from dann.models import DANN
from dann.predict import load_network, released

TITLES = {"dann": "DANN"}


def features_of(network: DANN, images: Tensor, is_target: bool) -> Tensor:
    """One extractor for both domains: (N, 3, 28, 28) → (N, D)."""
    return network.features(images)


def main() -> None:
    visualize.program("dann", __doc__, load_network, released, features_of, TITLES)


if __name__ == "__main__":
    run_main(main)
