"""Metrics for generated faces: distances between feature sets, face detection, pairs, nearest neighbours."""

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
FEWEST = 8  # minimum number of images for the distances; hundreds are better


@dataclass(frozen=True)
class Real:
    """The real faces, uint8 (N, 3, 64, 64), as reference, with their hash and description `what`; the
    training faces for the floor, if there are separate ones; and `classes` (N,), whether the reference faces
    have an attribute."""

    images: Tensor
    hash: str
    training: Tensor | None
    classes: Tensor | None
    what: str


def has_test(data: Path) -> bool:
    """Whether a folder has the course's layout, with separate test faces."""
    return (data / "face").is_dir()


def read_real(data: Path, attribute: str | None) -> Real:
    """Test and training faces of the course's layout, or all images of any folder. Raises InputError if there
    are too few."""
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
    """All images of a folder, uint8 (N, 3, 64, 64). Raises InputError if there are too few."""
    images = read_images(folder, SIZE, square=True)[0]
    enough(images, folder)
    return images


def enough(images: Tensor, folder: Path, which: str = "") -> None:
    """Raises InputError if there are too few images for the distances."""
    if len(images) < FEWEST:
        raise InputError(f"{folder} contains {len(images)} images{which}; the distances need at least "
                         f"{FEWEST}, better hundreds")


def distances(generated: Tensor, real: Tensor) -> dict[str, float]:
    """Fréchet distance (Heusel et al. 2017), kernel distance (Bińkowski et al. 2018; the squared MMD times
    1,000), precision and recall (Kynkäänniemi et al. 2019) of features (N, D) and (M, D)."""
    statistics = [fid_features_to_statistics(features.double()) for features in (generated, real)]
    size = min(1000, len(generated), len(real))
    kernel = kid_features_to_metric(generated.double(), real.double(), kid_subset_size=size, verbose=False)
    found = prc_features_to_metric(generated, real, verbose=False)
    return {"FD": fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"],
            "KD x1000": 1000 * kernel["kernel_inception_distance_mean"],
            "precision": found["precision"], "recall": found["recall"]}


def inception(source: str, device: torch.device) -> Extractor:
    """The FID's Inception network. `source`: a file, or "download". InputError if it cannot be loaded."""
    from torch_fidelity.utils import create_feature_extractor

    state = downloaded() if source == "download" else tensors_of(Path(source))
    with tempfile.TemporaryDirectory() as folder:
        # torch-fidelity unpickles files without restrictions, so it gets a copy that contains only tensors
        buffer, copy = io.BytesIO(), Path(folder) / "inception.pth"
        torch.save(state, buffer)
        write(copy, buffer.getvalue())
        try:
            network = create_feature_extractor("inception-v3-compat", ["2048"], cuda=False, verbose=False,
                                               feature_extractor_weights_path=str(copy)).to(device)
        except (RuntimeError, ValueError, TypeError) as problem:
            if out_of_memory(problem):
                raise
            raise InputError(f"{source} contains the weights of another network; use torch-fidelity's "
                             "Inception file") from None

    def features(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([network(part.to(device))[0].cpu() for part in images.split(50)])
    return features


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The named tensors of a torch.save file, loaded without executing code. InputError for other content."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(
                isinstance(name, str) and type(value) is Tensor and torch.isfinite(value).all()
                for name, value in state.items()):
            raise ValueError
        return {name: value.clone() for name, value in state.items()}
    except Exception as problem:  # for other files, torch.load raises many types of exceptions
        if out_of_memory(problem):
            raise
        raise InputError(f"{path} does not contain only named tensors; use torch-fidelity's Inception file, "
                         "or `download`") from None


def downloaded() -> dict[str, Tensor]:
    """torch-fidelity's weights, downloaded or from torch's cache."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        with contextlib.redirect_stderr(sys.stdout):  # for the messages about the download
            return torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, map_location="cpu", progress=False,
                                                      check_hash=True, weights_only=True)
    except Exception as problem:  # no network, a full disk, or a damaged file in the cache
        reason = str(problem).split("\n")[0] or type(problem).__name__
        raise InputError(f"the Inception weights cannot be downloaded ({reason}); use --inception FILE with "
                         "torch-fidelity's file"
                         ) from None


def detected(images: Tensor) -> float | None:
    """Percentage of images, uint8 (N, 3, 64, 64), in which dlib's frontal HOG detector finds a face after
    upsampling once, as in the grading of later years of the course. None if dlib is not installed."""
    try:
        import dlib
    except ImportError:
        return None
    detector = dlib.get_frontal_face_detector()
    found = [len(detector(image, 1)) > 0 for image in images.permute(0, 2, 3, 1).contiguous().numpy()]
    return 100 * sum(found) / len(found)


SAME_PERSON = 0.6  # maximum distance between descriptors of the same person, as recommended by dlib's author
# left, top, right, bottom: the median box that the detector finds in these aligned faces
FACE_BOX = (12, 17, 55, 60)


def descriptors() -> Extractor:
    """dlib's face descriptors: uint8 images (N, 3, 64, 64), aligned as the course's faces are → (N, 128).
    Raises InputError if dlib is not installed."""
    package = importlib.util.find_spec("face_recognition_models")  # importing it would require setuptools
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
        return torch.tensor([list(network.compute_face_descriptor(face, landmarks(face, box)))
                             for face in faces])
    return features


def identity(sides: Tensor) -> dict[str, float]:
    """Whether both faces of a pair show the same person, by their descriptors (2, N, 128): the percentage of
    pairs with a distance below 0.6, and the median distance; and the same for faces of different pairs."""
    within = (sides[0] - sides[1]).norm(dim=1)
    between = torch.cat([(side - side.roll(1, 0)).norm(dim=1) for side in sides])
    return {name + what: value for name, distance in (("", within), ("other pairs: ", between))
            for what, value in (("same person", 100 * (distance < SAME_PERSON).float().mean().item()),
                                ("median distance", distance.median().item()))}


def pair_figures(pairs: Tensor, logits: Tensor, columns: list[str], attribute: str) -> dict[str, Any]:
    """Metrics of pairs of faces from the same noise, uint8 (2, N, 3, 64, 64), with and without the attribute.
    `logits` (2, N, A) are those of an independent judge. The edit ratio is the difference within pairs,
    relative to that between different pairs with the same class; it is None if all faces are the same."""
    mine = columns.index(attribute)
    has, has_not = logits[0, :, mine] > 0, logits[1, :, mine] <= 0
    flips = int((has & has_not).sum())
    low, high = binomtest(flips, len(has)).proportion_ci(method="wilson")
    changed = 100 * ((logits[0] > 0) != (logits[1] > 0)).float().mean(0)
    within = mean_difference(pairs[0], pairs[1])
    # faces of neighbouring pairs, with the same class
    between = 0.5 * sum(mean_difference(side, side.roll(1, 0)) for side in pairs)
    return {"pairs": len(has), "named with": 100 * has.float().mean().item(),
            "named without": 100 * has_not.float().mean().item(),
            "flipped": 100 * flips / len(has), "flipped, 95 %": [100 * low, 100 * high],
            "changed": {column: round(value, 2)
                        for column, value in zip(columns, changed.tolist(), strict=True)},
            "edit ratio": within / between if between else None}


def class_figures(features: Tensor, logits: Tensor, test_features: Tensor, test_logits: Tensor,
                  test_classes: Tensor) -> dict[str, dict[str, float]]:
    """Metrics per class: the distances between generated faces, features (2, N, D), with and without the
    attribute, and test faces of the same class, features (M, D), classes (M,); and the percentages of
    generated and real faces about which the judge, with logits (2, N) and (M,), is undecided (probability
    between 0.1 and 0.9)."""
    def undecided(logits: Tensor) -> float:
        return 100 * (logits.abs() < math.log(9)).float().mean().item()

    found = {}
    for side, (name, value) in enumerate((("with", 1), ("without", 0))):
        real = test_classes == value
        found[name] = {**distances(features[side], test_features[real]), "undecided": undecided(logits[side]),
                       "undecided, real": undecided(test_logits[real])}
    return found


def mean_difference(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference in grey levels."""
    total = sum((x.float() - y.float()).abs().sum().item()
                for x, y in zip(a.split(500), b.split(500), strict=True))
    return total / a.numel()


def nearest(images: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest training face, original or mirrored, for each of the images, uint8 (N, 3, 64, 64), and its
    distance (N,), the RMS difference in grey levels. Pixels are compared at half the resolution, to be less
    sensitive to small shifts."""
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
