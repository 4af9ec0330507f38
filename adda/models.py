"""The networks of adversarial discriminative domain adaptation (Tzeng et al., CVPR 2017, figure 3): source
encoder M_s, target encoder M_t, classifier C and discriminator D.

All heads return logits. Images come in as (N, 3, 28, 28) float in [0, 1]; each network scales them itself, so
that source and target cannot be scaled differently.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.networks import Standardise, by_class, six_convolutions
from common.processes import mean_of_all


class Classifier(nn.Module):
    """An encoder M and the classifier C, behind a fixed scaling of the images."""

    def __init__(self, scale: nn.Module, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.scale, self.encoder, self.classifier = scale, encoder, classifier

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, 28, 28) in [0, 1] → features (N, D), the input of C and of the discriminator."""
        return self.encoder(self.scale(images))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 28, 28) in [0, 1] → class logits (N, K)."""
        return self.classifier(self.features(images))


class Adapted(nn.Module):
    """The result: a network for each domain. `target` classifies images of the target; `source` is kept for
    pictures of the features."""

    def __init__(self, source: Classifier, target: Classifier) -> None:
        super().__init__()
        self.source, self.target = source, target
        self.eval()  # a result, not something that trains

    def forward(self, images: Tensor) -> Tensor:
        """Images of the target (N, 3, 28, 28) in [0, 1] → class logits (N, K)."""
        return self.target(images)


class Discriminator(nn.Module):
    """Features (N, D) → domain logits (N, 2), "source" = 0, "target" = 1. A conditional one sees the outer
    product of features and predicted classes."""

    def __init__(self, layers: nn.Module, conditional: bool) -> None:
        super().__init__()
        self.layers, self.conditional = layers, conditional

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        return self.layers(by_class(features, logits) if self.conditional else features)


class ClassFrequencies(nn.Module):
    """Estimated frequency of each class in the target: a running mean of predictions, equal at first."""

    estimate: Tensor

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.register_buffer("estimate", torch.full((classes,), 1 / classes))

    def update(self, logits: Tensor) -> None:
        """Update with a batch's logits (N, K). The last hundred batches make up 63 % of the estimate."""
        self.estimate.lerp_(mean_of_all(logits.softmax(1).mean(0)), 0.01)

    def log_ratio(self) -> Tensor:
        """(K,) log of each frequency relative to equal frequencies, but at least log 0.1: a class that is
        never predicted must not be pushed away for good."""
        return (len(self.estimate) * self.estimate).clamp(min=0.1).log()


class Grey(nn.Module):
    """(N, 3, H, W) in [0, 1] → (N, 1, H, W) in [-1, 1], with the luma weights of ITU-R 601."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([0.2989, 0.5870, 0.1140]).view(1, 3, 1, 1),
                             persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weights).sum(1, keepdim=True) * 2 - 1


def report_networks(classes: int = 10) -> tuple[Classifier, Discriminator]:
    """The networks of the report, layer by layer: grey images, 500 features."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20), nn.LeakyReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.BatchNorm2d(50), nn.LeakyReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.BatchNorm1d(500), nn.LeakyReLU(),
    )
    layers = nn.Sequential(
        nn.Linear(500, 500), nn.BatchNorm1d(500), nn.LeakyReLU(),
        nn.Linear(500, 500), nn.BatchNorm1d(500), nn.LeakyReLU(), nn.Linear(500, 2),
    )
    return Classifier(Grey(), encoder, nn.Linear(500, classes)), Discriminator(layers, conditional=False)


def default_networks(width: int = 32, conditional: bool = True,
                     classes: int = 10) -> tuple[Classifier, Discriminator]:
    """Six 3x3 convolutions (0.29 M parameters at width 32), a linear classifier, and a discriminator of three
    layers."""
    network = Classifier(Standardise(), six_convolutions(width), nn.Linear(4 * width, classes))
    inputs = 4 * width * (classes if conditional else 1)
    layers = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                           nn.Linear(128, 2))
    return network, Discriminator(layers, conditional)


def build(network: str, width: int = 32, conditional: bool = True,
          classes: int = 10) -> tuple[Classifier, Discriminator]:
    """`report` or `default`, on the CPU, channels-last. The report's discriminator is never conditional."""
    classifier, discriminator = (report_networks(classes) if network == "report"
                                 else default_networks(width, conditional, classes))
    return classifier.to(memory_format=torch.channels_last), discriminator
