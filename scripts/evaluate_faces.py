"""How good the faces are: `python -m scripts.evaluate_faces --weights runs/gan/…/weights.safetensors --data hw3_data`, or with
`--images FOLDER` for faces of any origin.

Distances to the test faces, in the features of the judge of scripts.attributes: FD(attributes), which is no FID. Beside them the
same distances of as many training faces, the floor that a perfect generator would reach. `--inception` adds the published FID, in
the protocol of the course's later years: 1,000 generated faces against all test faces. For an ACGAN, also what happens to pairs of
one noise when the class changes.

With requirements-faces.txt installed, there are judges that nobody trained here. The share of images in which dlib's HOG
detector finds a face is always measured. `--descriptors` adds FD(dlib), the distance in the space of dlib's face descriptors,
and for pairs whether both faces are the same person's; it takes about a quarter of a second a face.

`--data` may be any folder of images. It has no test faces then: the faces are compared with all of its images, which the output
says, and there is no floor.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import acgan.generate
import acgan.models
import acgan.options
import acgan.train
import gan.generate
import gan.models
from common.cli import InputError, Parser, run_main, whole
from common.device import choose_device
from common.faces import SIZE
from common.figures import MOST, check_picture, curve, grid, save_picture
from common.files import check_writable, write
from common.options import from_json
from common.runs import read_records
from common.weights import card_of, read_card, save_card, save_weights
from scripts.attributes import WEIGHTS, Judge, judged, load_judge
from scripts.face_metrics import (
    FEWEST,
    Extractor,
    Real,
    class_figures,
    descriptors,
    detected,
    distances,
    has_test,
    identity,
    inception,
    nearest,
    pair_figures,
    read_made,
    read_real,
)

GRADED = 1000  # faces in the protocol of the course's later years


@dataclass(frozen=True)
class Made:
    """Generated faces, uint8 (N, 3, 64, 64), and how they came to be. An ACGAN's are taken in turn from `pairs` (2, N, 3, 64, 64),
    of one noise with and without the attribute. Images of a folder have neither card nor network."""

    faces: Tensor
    card: dict[str, Any]
    seed: int = 0
    network: nn.Module | None = None
    pairs: Tensor | None = None
    attribute: str | None = None


def main() -> None:
    args = arguments()
    device = choose_device(args.device)
    judge, judge_card = load_judge(args.judge, device)
    card = read_card(card_of(args.weights), "gan.train", "acgan.train") if args.weights else {}
    attribute = None
    if card.get("program") == "acgan.train":
        attribute = from_json(acgan.options.Options, card["options"], card_of(args.weights), ("attribute",)).attribute
        if attribute not in judge_card["attributes"]:
            raise InputError(f"{args.judge} does not judge {attribute!r}, the attribute of {args.weights}; name another --judge")
    extract = inception(args.inception, device) if args.inception is not None else None
    describe = descriptors() if args.descriptors else None
    real = read_real(args.data, attribute)
    made = make(args, card, attribute, len(real.images), device) if args.weights else Made(read_made(args.images), {})

    results = measure(made, real, judge, judge_card, extract, describe)
    results["judge"]["weights"] = args.judge.name
    print(f"{args.images or args.weights}: {len(made.faces)} faces against {len(real.images)} {real.what} ({results['crop']}); "
          f"judge {args.judge}, {results['judge']['mean accuracy on test faces']:.1f} % of attributes right")
    show(results)
    if args.nearest:
        draw_nearest(args.nearest, made, real)
    if args.json:
        write(args.json, json.dumps(results, indent=2) + "\n")
    if args.save:
        release(args, made, results)


def arguments() -> argparse.Namespace:
    """The command line. InputError for what does not go together, and for files that could not be written after the work."""
    parser = Parser(prog="python -m scripts.evaluate_faces", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", type=Path, help="a generator of gan or acgan")
    what.add_argument("--images", type=Path, metavar="FOLDER", help="a folder of generated faces, all of which are measured")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="folder with the real faces: face/test and face/train, or any folder of images")
    parser.add_argument("--count", type=whole(FEWEST, MOST), help="noise vectors (default: as many as there are real faces)")
    parser.add_argument("--seed", type=whole(), help="of the noise (default: 0)")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="another judge than the released one")
    parser.add_argument("--inception", metavar="FILE", help="torch-fidelity's Inception weights, or the word download")
    parser.add_argument("--descriptors", action="store_true", help="also FD(dlib), and whether pairs are one person's")
    parser.add_argument("--nearest", type=Path, metavar="FILE", help="picture of eight faces over their nearest training faces")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--save", type=Path, metavar="FILE", help="release: round the weights to 16 bits, measure those, and write "
                        "them with their card to FILE (.safetensors; a name that ends in .json keeps the card alone)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.images:
        for name in ("save", "count", "seed"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name} belongs to --weights; the images of a folder are measured as they are")
    check_outputs(args)
    return args


def check_outputs(args: argparse.Namespace) -> None:
    """InputError for an output that cannot be written, or in whose place something else is that is read or written."""
    released = [args.save] if args.save else []
    if args.save and args.save.suffix != ".json":
        released.append(card_of(args.save))
    outputs = [path for path in (args.nearest, args.json, *released) if path]
    for path in outputs:
        check_writable(path)
    if args.nearest:
        check_picture(args.nearest)
    # weights may be released in their own place
    taken = [args.judge, card_of(args.judge), *([] if not args.weights else [args.weights, card_of(args.weights)])]
    for index, path in enumerate(outputs):
        others = [*outputs[:index], *(taken[:2] if path in released else taken)]
        if os.path.realpath(path) in map(os.path.realpath, others):
            raise InputError(f"{path} is named twice, or is a file that is measured; name another one to write")
    folders = [args.images, *([args.data / "face/test", args.data / "face/train"] if has_test(args.data) else [args.data])]
    if args.nearest and os.path.realpath(args.nearest.parent) in [os.path.realpath(folder) for folder in folders if folder]:
        raise InputError(f"{args.nearest} would lie among the faces that are measured; name another folder")


def make(args: argparse.Namespace, card: dict[str, Any], attribute: str | None, real: int, device: torch.device) -> Made:
    """Faces of the generator that --weights names, `--count` or as many as real ones; rounded to 16 bits for a release."""
    count, seed = args.count or min(real, MOST), args.seed or 0
    network: Any
    if attribute is None:
        network = round_off(gan.generate.load_generator(args.weights, device), args.save is not None)
        return Made(to_judge(gan.generate.generate(network, gan.models.noise(count, seed))), card, seed, network)
    network, strength = acgan.generate.load_generator(args.weights, device)
    pairs = acgan.train.pairs(round_off(network, args.save is not None), acgan.models.noise(count, seed), strength)
    pairs = torch.stack([to_judge(side) for side in pairs])
    in_turn = (torch.arange(count) % 2 == 0)[:, None, None, None]
    return Made(torch.where(in_turn, pairs[0], pairs[1]), card, seed, network, pairs, attribute)


def to_judge(faces: Tensor) -> Tensor:
    """Faces uint8 (N, 3, size, size) at the size that the judge knows, (N, 3, 64, 64)."""
    if faces.shape[-1] == SIZE:
        return faces
    return F.interpolate(faces.float(), (SIZE, SIZE), mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)


def round_off(network: Any, rounded: bool) -> Any:
    """The network as it is after a release in 16 bits."""
    return network.half().float() if rounded else network


def measure(made: Made, real: Real, judge: Judge, judge_card: dict[str, Any], extract: Extractor | None = None,
            describe: Extractor | None = None) -> dict[str, Any]:
    """What is printed, and written to a card or a file: of what, compared with what, and the figures."""
    floor = None
    if real.training is not None:
        order = torch.randperm(len(real.training), generator=torch.Generator().manual_seed(0))
        floor = real.training[order[:len(made.faces)]]
    (features, _), (real_features, real_logits) = judged(judge, made.faces), judged(judge, real.images)
    accuracy = sum(judge_card["metrics"].values()) / len(judge_card["metrics"])
    results = {**origin(made, real), "crop": f"centre square, {SIZE}x{SIZE}",
               "judge": {"mean accuracy on test faces": round(accuracy, 2)}, "attributes": distances(features, real_features)}
    if floor is not None:
        results["attributes, real"] = distances(judged(judge, floor)[0], real_features)
    if extract is not None:
        known = extract(real.images)
        results["inception"] = distances(extract(made.faces[:GRADED]), known)
        if floor is not None:
            results["inception, real"] = distances(extract(floor[:GRADED]), known)
    if (found := detected(made.faces[:GRADED])) is not None:
        results |= {"detected": found, "detected, real": detected(real.images[:GRADED])}
    if describe is not None:
        known = describe(real.images[:GRADED])
        results["dlib"] = distances(describe(made.faces[:GRADED]), known)
        if floor is not None:
            results["dlib, real"] = distances(describe(floor[:GRADED]), known)
        if made.pairs is not None:
            results["identity"] = identity(torch.stack([describe(side[:GRADED]) for side in made.pairs]))
    if made.pairs is not None and made.attribute is not None and real.classes is not None:
        sides, logits = (torch.stack(both) for both in zip(*(judged(judge, side) for side in made.pairs), strict=True))
        results["pairs"] = pair_figures(made.pairs, logits, judge_card["attributes"], made.attribute)
        mine = judge_card["attributes"].index(made.attribute)
        results["classes"] = class_figures(sides, logits[..., mine], real_features, real_logits[:, mine], real.classes)
    return results


def origin(made: Made, real: Real) -> dict[str, Any]:
    """What is compared with what."""
    found: dict[str, Any] = {"faces": len(made.faces)}
    if real.training is None:
        found |= {"real faces": len(real.images), "compared with": f"all {real.what}"}
    else:
        found["test faces"] = len(real.images)
    if made.card:
        found["seed"] = made.seed
        data = made.card.get("data")
        if isinstance(data, dict) and data.get("faces") == real.hash:
            found["trained on"] = "the real faces that it is compared with"
    return found


def show(results: dict[str, Any]) -> None:
    """The results as lines on the screen."""
    if "compared with" in results or "trained on" in results:
        known = "the generator was trained on them" if "trained on" in results else "the generator may have been trained on them"
        print(f"the real faces are no test faces: {known}, and one that copies them has the smallest distance")
    for name, title in (("attributes", "FD(attributes)"), ("inception", "FID (Inception)"), ("dlib", "FD(dlib)")):
        for kind, what in (("", "generated"), (", real", "training faces, the floor")):
            if values := results.get(name + kind):
                print(f"{title}, {what}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if "attributes, real" not in results:
        print("the floor: not measured; it needs training faces apart from the real faces, face/train and face/test")
    if "detected" in results:
        print(f"HOG detector: {results['detected']:.1f} % of {min(GRADED, results['faces'])} faces, "
              f"{results['detected, real']:.1f} % of the real faces")
    else:
        print("HOG detector: not measured; pip install -r requirements-faces.txt")
    if same := results.get("identity"):
        print("identity (dlib), pairs: " + ", ".join(f"{key} {value:.3f}" for key, value in same.items()))
    if pairs := results.get("pairs"):
        low, high = pairs["flipped, 95 %"]
        ratio = "none, all faces are the same" if pairs["edit ratio"] is None else f"{pairs['edit ratio']:.3f}"
        print(f"{pairs['pairs']} pairs: flipped {pairs['flipped']:.2f} % (95 %: {low:.2f} to {high:.2f}); named as asked: with "
              f"{pairs['named with']:.2f}, without {pairs['named without']:.2f}; edit ratio {ratio}")
        print("judged differently within a pair, %: " + ", ".join(f"{key} {value:.1f}" for key, value in pairs["changed"].items()))
        for name, values in results["classes"].items():
            print(f"{name} the attribute: " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))


def draw_nearest(path: Path, made: Made, real: Real) -> None:
    """A picture of the first eight faces, and under each the training face (or, without any, the real one) that is nearest."""
    training = real.images if real.training is None else real.training
    neighbours, distance = nearest(made.faces[:8], training)
    save_picture(path, grid(torch.cat([made.faces[:8], neighbours]), 8))
    print(f"{path}: generated, and the {'real' if real.training is None else 'training'} face nearest in pixels; they differ by "
          f"{', '.join(f'{value:.0f}' for value in distance.tolist())} grey levels (root mean square)")


def release(args: argparse.Namespace, made: Made, results: dict[str, Any]) -> None:
    """The weights in 16 bits and their card, or the card alone."""
    card = {**made.card, "metrics": results}
    if losses := curve(read_records(args.weights.parent)):  # in a run folder: the report draws its losses
        card["curve"] = losses
    if args.save.suffix == ".json":
        save_card(args.save, card)
    elif made.network is not None:
        save_weights(args.save, made.network.half(), card)


if __name__ == "__main__":
    run_main(main)
