"""t-SNE of test features of both domains:
`python -m adda.visualize --target svhn --data hw3_data --output figures/adda_svhn.png`.

Each domain's features come from its own encoder, as the discriminator saw them in training. One embedding,
drawn twice: coloured by digit and by domain; and its points as JSON.
"""

from __future__ import annotations

from adda.models import Adapted, Classifier
from adda.predict import load_network, released
from common import visualize
from common.cli import run_main

TITLES = {"adda": "ADDA", "adda+st": "ADDA + self-training"}


def network_of(network: Adapted, is_target: bool) -> Classifier:
    """The domain's own encoder and its classifier."""
    return network.target if is_target else network.source


def main() -> None:
    visualize.program("adda", __doc__, load_network, released, network_of, TITLES)


if __name__ == "__main__":
    run_main(main)
