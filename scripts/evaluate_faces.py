"""Evaluate generated faces: `python -m scripts.evaluate_faces --weights FILE --data hw3_data` for a
generator, or `--images FOLDER` for faces of any origin.

The metrics are distances to the test faces in the feature space of the judge of scripts.attributes.
FD(attributes) is the Fréchet distance in this space, not the FID. The same distances for as many training
faces are the floor, which a perfect generator would reach. `--inception` adds the FID with the Inception
network, in the protocol of later years of the course: 1,000 generated faces against all test faces. For an
ACGAN, pairs are evaluated too: two faces of one noise vector, with different classes.

With requirements-faces.txt, metrics based on dlib are added. The percentage of images in which dlib's HOG
detector finds a face is always measured. `--descriptors` adds FD(dlib), the Fréchet distance between dlib's
face descriptors, and for pairs whether both faces show the same person; this takes about 0.25 s per face.

`--data` may be any folder of images. Then all of its images are the reference, as the output says, and there
is no floor.
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

GRADED = 1000  # number of faces in the protocol of later years of the course


@dataclass(frozen=True)
class Made:
    """Generated faces, uint8 (N, 3, 64, 64), with the card and network that they come from. For an ACGAN,
    `pairs` (2, N, 3, 64, 64) are the faces with and without the attribute, from which `faces` are taken
    alternately. Images of a folder have neither card nor network."""

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
        attribute = from_json(acgan.options.Options, card["options"], card_of(args.weights),
                              ("attribute",)).attribute
        if attribute not in judge_card["attributes"]:
            raise InputError(f"{args.judge} does not predict {attribute!r}, the attribute of {args.weights}; "
                             "use another --judge")
    extract = inception(args.inception, device) if args.inception is not None else None
    describe = descriptors() if args.descriptors else None
    real = read_real(args.data, attribute)
    made = (make(args, card, attribute, len(real.images), device) if args.weights
            else Made(read_made(args.images), {}))

    results = measure(made, real, judge, judge_card, extract, describe)
    results["judge"]["weights"] = args.judge.name
    print(f"{args.images or args.weights}: {len(made.faces)} faces against {len(real.images)} {real.what} "
          f"({results['crop']}); judge {args.judge}, "
          f"{results['judge']['mean accuracy on test faces']:.1f} % accuracy")
    show(results)
    if args.nearest:
        draw_nearest(args.nearest, made, real)
    if args.json:
        write(args.json, json.dumps(results, indent=2) + "\n")
    if args.save:
        release(args, made, results)


def arguments() -> argparse.Namespace:
    """Parse the command line. InputError for inconsistent arguments and outputs that cannot be written."""
    parser = Parser(prog="python -m scripts.evaluate_faces", description=__doc__)
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument("--weights", type=Path, help="weights of a generator of gan or acgan")
    inputs.add_argument("--images", type=Path, metavar="FOLDER",
                        help="folder of generated faces, all of which are evaluated")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="folder with the real faces in face/test and face/train, "
                        "or any folder of images")
    parser.add_argument("--count", type=whole(FEWEST, MOST),
                        help="number of noise vectors (default: that of the real faces)")
    parser.add_argument("--seed", type=whole(), help="random seed of the noise (default: 0)")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="weights of the judge")
    parser.add_argument("--inception", metavar="FILE",
                        help="torch-fidelity's Inception weights, or `download`")
    parser.add_argument("--descriptors", action="store_true",
                        help="also FD(dlib), and whether pairs show the same person")
    parser.add_argument("--nearest", type=Path, metavar="FILE",
                        help="write a picture of eight faces and the training faces nearest to them")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--save", type=Path, metavar="FILE",
                        help="release the weights: round them to 16 bits before the evaluation, and write "
                        "them and their card to FILE (.safetensors; with .json, only the card)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.images:
        for name in ("save", "count", "seed"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name} applies only to --weights; the images of a folder are evaluated "
                                 "as they are")
    check_outputs(args)
    return args


def check_outputs(args: argparse.Namespace) -> None:
    """InputError if an output cannot be written, or if its path is that of another output or of an input."""
    released = [args.save] if args.save else []
    if args.save and args.save.suffix != ".json":
        released.append(card_of(args.save))
    outputs = [path for path in (args.nearest, args.json, *released) if path]
    for path in outputs:
        check_writable(path)
    if args.nearest:
        check_picture(args.nearest)
    # --save may overwrite the weights themselves
    taken = [args.judge, card_of(args.judge),
             *([] if not args.weights else [args.weights, card_of(args.weights)])]
    for index, path in enumerate(outputs):
        others = [*outputs[:index], *(taken[:2] if path in released else taken)]
        if os.path.realpath(path) in map(os.path.realpath, others):
            raise InputError(f"{path} is given twice, or is an input file; choose another output file")
    folders = [args.images,
               *([args.data / "face/test", args.data / "face/train"] if has_test(args.data) else [args.data])]
    if args.nearest and os.path.realpath(args.nearest.parent) in [
            os.path.realpath(folder) for folder in folders if folder]:
        raise InputError(f"{args.nearest} is in a folder of faces that are read; choose another folder")


def make(args: argparse.Namespace, card: dict[str, Any], attribute: str | None, real: int,
         device: torch.device) -> Made:
    """Generate faces with --weights (rounded for a release), as many as --count or the real faces."""
    count, seed = args.count or min(real, MOST), args.seed or 0
    network: Any
    if attribute is None:
        network = round_off(gan.generate.load_generator(args.weights, device), args.save is not None)
        return Made(to_judge(gan.generate.generate(network, gan.models.noise(count, seed))),
                    card, seed, network)
    network, strength = acgan.generate.load_generator(args.weights, device)
    pairs = acgan.train.pairs(round_off(network, args.save is not None), acgan.models.noise(count, seed),
                              strength)
    pairs = torch.stack([to_judge(side) for side in pairs])
    even = (torch.arange(count) % 2 == 0)[:, None, None, None]
    return Made(torch.where(even, pairs[0], pairs[1]), card, seed, network, pairs, attribute)


def to_judge(faces: Tensor) -> Tensor:
    """Resize faces, uint8 (N, 3, size, size), to the input size of the judge, (N, 3, 64, 64)."""
    if faces.shape[-1] == SIZE:
        return faces
    return (F.interpolate(faces.float(), (SIZE, SIZE), mode="bilinear", antialias=True)
            .round().clamp(0, 255).to(torch.uint8))


def round_off(network: Any, rounded: bool) -> Any:
    """The network with its weights rounded to 16 bits, as in a release, if `rounded`."""
    return network.half().float() if rounded else network


def measure(made: Made, real: Real, judge: Judge, judge_card: dict[str, Any],
            extract: Extractor | None = None, describe: Extractor | None = None) -> dict[str, Any]:
    """Compute the metrics. The result is printed, and written to the card or to --json."""
    floor = None
    if real.training is not None:
        order = torch.randperm(len(real.training), generator=torch.Generator().manual_seed(0))
        floor = real.training[order[:len(made.faces)]]
    (features, _), (real_features, real_logits) = judged(judge, made.faces), judged(judge, real.images)
    accuracy = sum(judge_card["metrics"].values()) / len(judge_card["metrics"])
    results = {**origin(made, real), "crop": f"centre square, {SIZE}x{SIZE}",
               "judge": {"mean accuracy on test faces": round(accuracy, 2)},
               "attributes": distances(features, real_features)}
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
        sides, logits = (torch.stack(both)
                         for both in zip(*(judged(judge, side) for side in made.pairs), strict=True))
        results["pairs"] = pair_figures(made.pairs, logits, judge_card["attributes"], made.attribute)
        mine = judge_card["attributes"].index(made.attribute)
        results["classes"] = class_figures(sides, logits[..., mine], real_features, real_logits[:, mine],
                                           real.classes)
    return results


def origin(made: Made, real: Real) -> dict[str, Any]:
    """The numbers and the origin of the faces that are compared."""
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
    """Print the results."""
    if "compared with" in results or "trained on" in results:
        known = ("the generator was trained on them" if "trained on" in results
                 else "the generator may have been trained on them")
        print(f"the real faces are not test faces: {known}, and copying them would minimise the distances")
    for name, title in (("attributes", "FD(attributes)"), ("inception", "FID (Inception)"),
                        ("dlib", "FD(dlib)")):
        for kind, what in (("", "generated"), (", real", "training faces, the floor")):
            if values := results.get(name + kind):
                print(f"{title}, {what}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if "attributes, real" not in results:
        print("floor: not measured; it needs separate training faces (face/train and face/test)")
    if "detected" in results:
        print(f"HOG detector: {results['detected']:.1f} % of {min(GRADED, results['faces'])} faces, "
              f"{results['detected, real']:.1f} % of the real faces")
    else:
        print("HOG detector: not measured; pip install -r requirements-faces.txt")
    if same := results.get("identity"):
        print("identity (dlib), pairs: " + ", ".join(f"{key} {value:.3f}" for key, value in same.items()))
    if pairs := results.get("pairs"):
        low, high = pairs["flipped, 95 %"]
        ratio = ("undefined, all faces are the same" if pairs["edit ratio"] is None
                 else f"{pairs['edit ratio']:.3f}")
        print(f"{pairs['pairs']} pairs: flipped {pairs['flipped']:.2f} % (95 %: {low:.2f} to {high:.2f}); "
              f"classified as requested: with {pairs['named with']:.2f} %, "
              f"without {pairs['named without']:.2f} %; edit ratio {ratio}")
        print("predictions that differ within a pair, %: "
              + ", ".join(f"{key} {value:.1f}" for key, value in pairs["changed"].items()))
        for name, values in results["classes"].items():
            print(f"{name} the attribute: "
                  + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))


def draw_nearest(path: Path, made: Made, real: Real) -> None:
    """Write a picture of the first eight faces, each above its nearest training face (without training faces,
    its nearest real face)."""
    training = real.images if real.training is None else real.training
    neighbours, distance = nearest(made.faces[:8], training)
    save_picture(path, grid(torch.cat([made.faces[:8], neighbours]), 8))
    print(f"{path}: generated faces and the nearest {'real' if real.training is None else 'training'} faces; "
          f"distances {', '.join(f'{value:.0f}' for value in distance.tolist())} grey levels (RMS)")


def release(args: argparse.Namespace, made: Made, results: dict[str, Any]) -> None:
    """Write the weights in 16 bits and their card, or only the card."""
    card = {**made.card, "metrics": results}
    if losses := curve(read_records(args.weights.parent)):  # from a run folder: the report plots its losses
        card["curve"] = losses
    if args.save.suffix == ".json":
        save_card(args.save, card)
    elif made.network is not None:
        save_weights(args.save, made.network.half(), card)


if __name__ == "__main__":
    run_main(main)
