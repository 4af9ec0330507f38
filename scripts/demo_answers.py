"""What the demo's page shows, without the page: faces, probabilities of digits, and points of the report's t-SNE."""

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
STEPS = 20  # of the walk
REPORT = Path(__file__).parent.parent / "report"


@dataclass(frozen=True)
class Networks:
    """The released networks in evaluation mode; the digits' by method and target domain."""

    faces: gan.models.Generator
    pairs: acgan.models.Generator
    strength: float
    digits: dict[tuple[str, str], nn.Module]

    @property
    def methods(self) -> list[str]:
        """Those that there are for both directions."""
        return [method for method in METHODS if all((method, target) in self.digits for target in DOMAINS)]


def weights_of(method: str, target: str) -> Path:
    """Where the released weights of a method are."""
    if method == "source-only":
        return dann.predict.WEIGHTS / f"source-only-{other(target)}-{target}.safetensors"
    return (dann if method == "dann" else adda).predict.released(target)


def load_networks(device: torch.device) -> Networks:
    """InputError where weights are damaged, or missing; but those of source only need not be there."""
    digits: dict[tuple[str, str], nn.Module] = {}
    for target in DOMAINS:
        for method in METHODS:
            weights, package = weights_of(method, target), adda if method == "adda-st" else dann
            if method != "source-only" or weights.exists():
                digits[method, target] = package.predict.load_network(weights, device)[0]
    pairs, strength = acgan.generate.load_generator(acgan.generate.WEIGHTS, device)
    return Networks(gan.generate.load_generator(gan.generate.WEIGHTS, device), pairs, strength, digits)


def face(networks: Networks, first: int, second: int, step: int) -> Image.Image:
    """DCGAN's face after that many of the STEPS from one seed's to another's, 256 x 256."""
    z = torch.cat([gan.models.noise(1, first), gan.models.noise(1, second)])
    # no arc leads from a point to itself
    z = z[:1] if first == second else walk(z, STEPS + 1)[step:step + 1]
    return enlarged(gan.generate.generate(networks.faces, z)[0], 4, Image.Resampling.BICUBIC)


def smiling_face(networks: Networks, seed: int, smile: float) -> Image.Image:
    """ACGAN's face of a seed, 256 x 256. Smiles of 1 and -1 are those of a pair of fig2_2.jpg."""
    faces = acgan.train.pairs(networks.pairs, acgan.models.noise(1, seed), networks.strength * smile)[0]
    return enlarged(faces[0], 4, Image.Resampling.BICUBIC)


def enlarged(image: Tensor, times: int, how: Image.Resampling) -> Image.Image:
    """(3, H, W) uint8 → a picture of that many times its height and width."""
    small = Image.fromarray(image.permute(1, 2, 0).numpy())
    return small.resize((small.width * times, small.height * times), how)


def read_digit(path: Path) -> Tensor:
    """An image file of any size → (3, 28, 28) uint8, as the graders' scripts read it. InputError where it is none."""
    try:
        return torch.from_numpy(np.array(picture(str(path), 28))).permute(2, 0, 1)
    except Exception as problem:  # Pillow raises a dozen types for damaged files
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise InputError(f"{path.name} cannot be read as an image ({reason}); choose another file") from None


def drawn_digit(url: str) -> Tensor:
    """What a browser's canvas holds, a PNG as a data URL, read by way of a file likewise."""
    with tempfile.NamedTemporaryFile(prefix="drawing") as file:
        file.write(base64.b64decode(url.partition(",")[2]))
        file.flush()
        return read_digit(Path(file.name))


def probabilities(networks: Networks, image: Tensor, target: str) -> dict[str, dict[str, float]]:
    """(3, 28, 28) uint8 → for each method the probability of every digit, by its network adapted to that domain."""
    found = {}
    for method in networks.methods:
        network = networks.digits[method, target]
        with torch.inference_mode():
            logits = network(plain(image[None].to(next(network.parameters()).device)))
        found[method] = {str(digit): value for digit, value in enumerate(logits.softmax(1)[0].tolist())}
    return found


def points(method: str, target: str) -> tuple[dict[str, list[Any]], str]:
    """The t-SNE of a method's test features that scripts.report made: the columns x, y, digit, taken for and domain,
    and a sentence. No columns where it was not made. InputError where the file is damaged."""
    file = REPORT / f"tsne_{method}-{other(target)}-{target}.json"
    if not file.exists():
        return {}, f"There is no {file.name}; scripts.report makes it."
    content = read_object(file)
    try:
        domains = [TITLES[content["source"]], TITLES[content["target"]]]
        columns = {"x": content["x"], "y": content["y"], "digit": list(map(str, content["digit"])),
                   "taken for": list(map(str, content["predicted"])),
                   "domain": [domains[is_target] for is_target in content["is target"]]}
        old = content["weights"] != sha256(weights_of(method, target))
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{file} is damaged; make it again with scripts.report") from None
    shares = [f"{right_of(columns, domain)} of {columns['domain'].count(domain)} of {domain}"
              for domain in domains]
    return columns, (f"Test images, of which {' and '.join(shares)} are taken for what they are."
                     + " The points are of earlier weights than the released ones." * old)


def right_of(columns: dict[str, list[Any]], domain: str) -> int:
    """How many of a domain's images are taken for what they are."""
    return sum(place == domain and digit == taken for place, digit, taken
               in zip(columns["domain"], columns["digit"], columns["taken for"], strict=True))
