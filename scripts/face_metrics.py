"""How good are generated faces: distances between sets of features, faces that a detector finds, pairs, and copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from common.cli import InputError

Extractor = Callable[[Tensor], Tensor]  # uint8 images (N, 3, 64, 64) → features (N, D)


def distances(generated: Tensor, real: Tensor) -> dict[str, float]:
    """Fréchet distance (Heusel et al. 2017), kernel distance (Bińkowski et al. 2018; a thousand times the squared MMD), precision
    and recall (Kynkäänniemi et al. 2019) of features (N, D) and (M, D)."""
    statistics = [fid_features_to_statistics(features.double()) for features in (generated, real)]
    size = min(1000, len(generated), len(real))
    kernel = kid_features_to_metric(generated.double(), real.double(), kid_subset_size=size, verbose=False)
    found = prc_features_to_metric(generated, real, verbose=False)
    return {"FD": fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"],
            "KD x1000": 1000 * kernel["kernel_inception_distance_mean"],
            "precision": found["precision"], "recall": found["recall"]}


def inception(weights: str | None, device: torch.device) -> Extractor:
    """The network of the published FID. `weights`: a file, or None to have it downloaded."""
    from torch_fidelity.utils import create_feature_extractor

    try:
        network = create_feature_extractor("inception-v3-compat", ["2048"], cuda=device.type == "cuda", verbose=False,
                                           feature_extractor_weights_path=weights)
    except Exception as problem:  # no file, no network, or another network's file: each raises its own
        raise InputError(f"Inception's weights cannot be loaded ({problem}); name torch-fidelity's file with --inception FILE"
                         ) from None

    def features(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([network(part.to(device))[0].cpu() for part in images.split(50)])
    return features


def detected(images: Tensor) -> float | None:
    """Percent of images (N, 3, 64, 64) uint8 in which dlib's frontal HOG detector finds a face, the image enlarged once, as the
    course's later years graded it. None where dlib is not installed."""
    try:
        import dlib
    except ImportError:
        return None
    detector = dlib.get_frontal_face_detector()
    found = [len(detector(image, 1)) > 0 for image in images.permute(0, 2, 3, 1).contiguous().numpy()]
    return 100 * sum(found) / len(found)


def pair_figures(pairs: Tensor, logits: Tensor, columns: list[str], attribute: str) -> dict[str, Any]:
    """What a change of the class does to pairs of one noise, uint8 (2, N, 3, 64, 64), with and without the attribute; `logits`
    (2, N, A) are an independent judge's."""
    mine = columns.index(attribute)
    has, has_not = logits[0, :, mine] > 0, logits[1, :, mine] <= 0
    flips = int((has & has_not).sum())
    low, high = binomtest(flips, len(has)).proportion_ci(method="wilson")
    changed = 100 * ((logits[0] > 0) != (logits[1] > 0)).float().mean(0)
    within = mean_difference(pairs[0], pairs[1])
    # the next pair's person, the same class
    between = 0.5 * sum(mean_difference(side, side.roll(1, 0)) for side in pairs)
    return {"pairs": len(has), "named with": 100 * has.float().mean().item(), "named without": 100 * has_not.float().mean().item(),
            "flipped": 100 * flips / len(has), "flipped, 95 %": [100 * low, 100 * high],
            "changed": {column: round(value, 2) for column, value in zip(columns, changed.tolist(), strict=True)},
            "edit ratio": within / between}


def class_figures(features: Tensor, logits: Tensor, test_features: Tensor, test_logits: Tensor, test_classes: Tensor
                  ) -> dict[str, dict[str, float]]:
    """What the class loss makes of either class: the distances of generated faces, features (2, N, D), with and without the
    attribute, from test faces of the same class, features (M, D), classes (M,); and the share of faces that a judge, with logits
    (2, N) and (M,), is undecided about (probability between 0.1 and 0.9), generated and real."""
    def undecided(logits: Tensor) -> float:
        return 100 * (logits.abs() < math.log(9)).float().mean().item()

    found = {}
    for side, (name, value) in enumerate((("with", 1), ("without", 0))):
        real = test_classes == value
        found[name] = {**distances(features[side], test_features[real]), "undecided": undecided(logits[side]),
                       "undecided, real": undecided(test_logits[real])}
    return found


def mean_difference(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference of grey levels."""
    total = sum((x.float() - y.float()).abs().sum().item() for x, y in zip(a.split(500), b.split(500), strict=True))
    return total / a.numel()


def nearest(images: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """For each of the images (N, 3, 64, 64) uint8 the training face, as it is or mirrored, that is nearest in pixels (at half the
    resolution, so that a shifted edge does not decide); and its distance as a root-mean-square of grey levels (N,)."""
    def small(part: Tensor) -> Tensor:
        return F.avg_pool2d(part.float(), 2).flatten(1)

    wanted = torch.cat([small(images), small(images.flip(3))])
    every = torch.cat([torch.cdist(wanted, small(part)) for part in training.split(2000)], 1)
    direct, mirrored = every[:len(images)], every[len(images):]
    best = torch.minimum(direct, mirrored)
    distance, index = best.min(1)
    rows = torch.arange(len(images))
    faces = training[index]
    faces = torch.where((mirrored < direct)[rows, index][:, None, None, None], faces.flip(3), faces)
    return faces, distance / math.sqrt(wanted.shape[1])
