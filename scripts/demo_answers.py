"""The demo's content, independent of Gradio: faces, class probabilities, and points of the report's t-SNE."""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import acgan.generate
import acgan.models
import acgan.train
import adda.predict
import dann.predict
import gan.generate
import gan.models
from common.cli import InputError
from common.domains import DOMAINS, TITLES, other
from common.figures import walk
from common.files import read_object
from common.pictures import picture
from common.views import plain
from common.visualize import sha256

METHODS = {"source-only": "Source only", "dann": "DANN", "adda-st": "ADDA + self-training"}
STEPS = 20  # steps of the interpolation
REPORT = Path(__file__).parent.parent / "report"


@dataclass(frozen=True)
class Networks:
    """The released networks in evaluation mode; those for digits by method and target domain."""

    faces: gan.models.Generator
    pairs: acgan.models.Generator
    strength: float
    digits: dict[tuple[str, str], nn.Module]

    @property
    def methods(self) -> list[str]:
        """The methods with networks for both directions."""
        return [method for method in METHODS if all((method, target) in self.digits for target in DOMAINS)]


def weights_of(method: str, target: str) -> Path:
    """The path of the released weights of a method."""
    if method == "source-only":
        return dann.predict.WEIGHTS / f"source-only-{other(target)}-{target}.safetensors"
    return (dann if method == "dann" else adda).predict.released(target)


def load_networks(device: torch.device) -> Networks:
    """Load the networks. InputError if weights are damaged or missing; those of source only are optional."""
    digits: dict[tuple[str, str], nn.Module] = {}
    for target in DOMAINS:
        for method in METHODS:
            weights, package = weights_of(method, target), adda if method == "adda-st" else dann
            if method != "source-only" or weights.exists():
                digits[method, target] = package.predict.load_network(weights, device)[0]
    pairs, strength = acgan.generate.load_generator(acgan.generate.WEIGHTS, device)
    return Networks(gan.generate.load_generator(gan.generate.WEIGHTS, device), pairs, strength, digits)


def face(networks: Networks, first: int, second: int, step: int) -> Image.Image:
    """DCGAN's face, 256 x 256, at `step` of the STEPS of the interpolation between two seeds."""
    z = torch.cat([gan.models.noise(1, first), gan.models.noise(1, second)])
    # slerp is undefined for equal vectors
    z = z[:1] if first == second else walk(z, STEPS + 1)[step:step + 1]
    return enlarged(gan.generate.generate(networks.faces, z)[0], 4, Image.Resampling.BICUBIC)


def smiling_face(networks: Networks, seed: int, smile: float) -> Image.Image:
    """ACGAN's face of a seed, 256 x 256. A smile of 1 or -1 gives the faces of a pair in fig2_2.jpg."""
    faces = acgan.train.pairs(networks.pairs, acgan.models.noise(1, seed), networks.strength * smile)[0]
    return enlarged(faces[0], 4, Image.Resampling.BICUBIC)


def enlarged(image: Tensor, times: int, how: Image.Resampling) -> Image.Image:
    """(3, H, W) uint8 → a picture enlarged by the factor `times`."""
    small = Image.fromarray(image.permute(1, 2, 0).numpy())
    return small.resize((small.width * times, small.height * times), how)


def read_digit(path: Path) -> Tensor:
    """Read an image file of any size as (3, 28, 28) uint8, as the graders' scripts do. Raises InputError if
    it cannot be read."""
    try:
        return torch.from_numpy(np.array(picture(str(path), 28))).permute(2, 0, 1)
    except Exception as problem:  # for damaged files, Pillow raises many types of exceptions
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise InputError(f"{path.name} cannot be read as an image ({reason}); choose another file") from None


def drawn_digit(url: str) -> Tensor:
    """Read the content of a browser's canvas, a PNG as a data URL, in the same way."""
    with tempfile.NamedTemporaryFile(prefix="drawing") as file:
        file.write(base64.b64decode(url.partition(",")[2]))
        file.flush()
        return read_digit(Path(file.name))


def probabilities(networks: Networks, image: Tensor, target: str) -> dict[str, dict[str, float]]:
    """(3, 28, 28) uint8 → class probabilities by each method's network for that target domain."""
    found = {}
    for method in networks.methods:
        network = networks.digits[method, target]
        with torch.inference_mode():
            logits = network(plain(image[None].to(next(network.parameters()).device)))
        found[method] = {str(digit): value for digit, value in enumerate(logits.softmax(1)[0].tolist())}
    return found


def points(method: str, target: str) -> tuple[dict[str, list[Any]], str]:
    """The t-SNE of a method's test features, as written by scripts.report: the columns x, y, digit, predicted
    and domain, and a caption. Without the file, there are no columns. InputError if it is damaged."""
    file = REPORT / f"tsne_{method}-{other(target)}-{target}.json"
    if not file.exists():
        return {}, f"{file.name} does not exist; create it with scripts.report."
    content = read_object(file)
    try:
        domains = [TITLES[content["source"]], TITLES[content["target"]]]
        columns = {"x": content["x"], "y": content["y"], "digit": list(map(str, content["digit"])),
                   "predicted": list(map(str, content["predicted"])),
                   "domain": [domains[is_target] for is_target in content["is target"]]}
        old = content["weights"] != sha256(weights_of(method, target))
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{file} is damaged; create it again with scripts.report") from None
    shares = [f"{right_of(columns, domain)} of {columns['domain'].count(domain)} of {domain}"
              for domain in domains]
    return columns, (f"Test images, of which {' and '.join(shares)} are classified correctly."
                     + " The points were computed with other weights than the released ones." * old)


def right_of(columns: dict[str, list[Any]], domain: str) -> int:
    """The number of correctly classified images of a domain."""
    return sum(place == domain and digit == predicted for place, digit, predicted
               in zip(columns["domain"], columns["digit"], columns["predicted"], strict=True))
