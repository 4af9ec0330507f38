"""t-SNE of test features of both domains:
`python -m dann.visualize --target svhn --data hw3_data --output figures/dann_svhn.png`.

The features are those of the feature extractor G_f, which both heads see. One embedding, drawn twice:
coloured by digit and by domain; and its points as JSON.
"""

from __future__ import annotations

from common import visualize
from common.cli import run_main
from dann.models import DANN
from dann.predict import load_network, released

TITLES = {"dann": "DANN"}


def network_of(network: DANN, is_target: bool) -> DANN:
    """One extractor and one classifier for both domains."""
    return network


def main() -> None:
    visualize.program("dann", __doc__, load_network, released, network_of, TITLES)


if __name__ == "__main__":
    run_main(main)
