"""The networks of domain-adversarial training (Ganin et al., JMLR 2016, figure 1): a feature extractor G_f, a
label predictor G_y and a domain classifier G_d that sees the features through a gradient reversal layer.

All heads return logits. Images come in as (N, 3, 28, 28) float in [0, 1]; each network scales them itself, so
that source and target cannot be scaled differently.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import Centre, Standardise, by_class, six_convolutions
from dann.losses import reverse_gradient


class DANN(nn.Module):
    """Feature extractor G_f, label predictor G_y and domain classifier G_d, behind a fixed image scaling."""

    def __init__(self, scale: nn.Module, feature: nn.Module, classifier: nn.Module, domain: nn.Module,
                 conditional: bool = False) -> None:
        super().__init__()
        self.scale, self.feature, self.classifier, self.domain = scale, feature, classifier, domain
        self.conditional = conditional

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, 28, 28) in [0, 1] → features (N, D), the input of both heads."""
        return self.feature(self.scale(images))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 28, 28) in [0, 1] → class logits (N, K)."""
        return self.classifier(self.features(images))

    def domain_logits(self, features: Tensor, logits: Tensor, strength: float) -> Tensor:
        """Features (N, D) → domain logits (N, 2), through the gradient reversal layer. A conditional domain
        classifier sees the outer product of features and predicted classes."""
        features = reverse_gradient(features, strength)
        if self.conditional:
            features = by_class(features, logits)
        return self.domain(features)


def report_network(classes: int = 10) -> DANN:
    """The networks of the report, layer by layer: 800 features, heads with BatchNorm and dropout."""
    feature = nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(64, 50, 5), nn.BatchNorm2d(50), nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(),
    )
    classifier = nn.Sequential(
        nn.Linear(800, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(100, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Linear(100, classes),
    )
    domain = nn.Sequential(nn.Linear(800, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Linear(100, 2))
    return DANN(Centre(), feature, classifier, domain)


def default_network(width: int = 32, conditional: bool = True, classes: int = 10) -> DANN:
    """Six 3x3 convolutions, 4·width features, a linear classifier, and a three-layer domain classifier."""
    feature = six_convolutions(width)
    inputs = 4 * width * (classes if conditional else 1)
    domain = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                           nn.Linear(128, 2))
    return DANN(Standardise(), feature, nn.Linear(4 * width, classes), domain, conditional)


def build(network: str, width: int = 32, conditional: bool = True, classes: int = 10) -> DANN:
    """`report`, whose domain classifier is never conditional, or `default`, on the CPU, channels-last."""
    model = report_network(classes) if network == "report" else default_network(width, conditional, classes)
    return model.to(memory_format=torch.channels_last)
