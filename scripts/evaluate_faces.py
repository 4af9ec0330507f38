"""How good the faces are: `python -m scripts.evaluate_faces --weights runs/gan/…/weights.safetensors --data hw3_data`, or with
`--images FOLDER` for faces of any origin.

Distances to the test faces, in the features of the judge of scripts.attributes: FD(attributes), which is no FID. Beside them the
same distances of as many training faces, the floor that a perfect generator would reach. `--inception` adds the published FID, in
the protocol of the course's later years: 1,000 generated faces against all test faces. With dlib-bin installed, the share of faces
that its HOG detector finds. For an ACGAN, also what happens to pairs of one noise when the class changes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import acgan.generate
import acgan.models
import acgan.train
import gan.generate
import gan.models
from common.cli import InputError, Parser, run_main
from common.datasets import read_images
from common.device import choose_device
from common.faces import SIZE, read_faces
from common.figures import grid, read_curve, save_picture
from common.files import write_atomically
from common.weights import load_weights, save_weights
from scripts.attributes import WEIGHTS, judged, load_judge
from scripts.face_metrics import class_figures, detected, distances, inception, nearest, pair_figures

FEWEST = 8
GRADED = 1000  # faces in the protocol of the course's later years


def main() -> None:
    args = arguments()
    device = choose_device(args.device)
    judge, judge_card = load_judge(args.judge, device)
    test, training = read_faces(args.data, "test").images, read_faces(args.data, "train").images
    count = len(test) if args.count is None else args.count
    if count < FEWEST:
        raise InputError(f"--count must be at least {FEWEST}, not {count}")
    network: nn.Module | None = None
    card: dict[str, Any] = {}
    pairs: Tensor | None = None
    if args.images:
        faces = read_images(args.images, SIZE, square=True)[0]
        if len(faces) < FEWEST:
            raise InputError(f"{args.images} holds {len(faces)} images; distances need {FEWEST} at the least, better hundreds")
    else:
        network, card, faces, pairs = make(args.weights, count, args.seed, device, rounded=args.save is not None)
    real = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:len(faces)]]

    (features, _), (test_features, test_logits), (floor, _) = (judged(judge, images) for images in (faces, test, real))
    accuracy = sum(judge_card["metrics"].values()) / len(judge_card["metrics"])
    results: dict[str, Any] = {
        "faces": len(faces), "test faces": len(test), "seed": args.seed, "crop": f"centre square, {SIZE}x{SIZE}",
        "judge": {"weights": args.judge.name, "mean accuracy on test faces": round(accuracy, 2)},
        "attributes": distances(features, test_features), "attributes, real": distances(floor, test_features)}
    if args.inception:
        extract = inception(None if args.inception == "download" else args.inception, device)
        known = extract(test)
        results |= {"inception": distances(extract(faces[:GRADED]), known),
                    "inception, real": distances(extract(real[:GRADED]), known)}
    if (found := detected(faces[:GRADED])) is not None:
        results |= {"detected": found, "detected, real": detected(test[:GRADED])}
    if pairs is not None:
        attribute = card["options"]["attribute"]
        sides, logits = (torch.stack(both) for both in zip(*(judged(judge, side) for side in pairs), strict=True))
        results["pairs"] = pair_figures(pairs, logits, judge_card["attributes"], attribute)
        mine = judge_card["attributes"].index(attribute)
        results["classes"] = class_figures(sides, logits[..., mine], test_features, test_logits[:, mine],
                                           read_faces(args.data, "test", [attribute]).attributes[:, 0])

    print(f"{args.images or args.weights}: {len(faces)} faces against {len(test)} test faces ({results['crop']}); judge "
          f"{args.judge}, {accuracy:.1f} % of attributes right")
    show(results)
    if args.nearest:
        neighbours, distance = nearest(faces[:8], training)
        save_picture(args.nearest, grid(torch.cat([faces[:8], neighbours]), 8))
        print(f"{args.nearest}: generated, and the training face nearest in pixels; they differ by "
              f"{', '.join(f'{value:.0f}' for value in distance.tolist())} grey levels (root mean square)")
    if args.json:
        write_atomically(args.json, json.dumps(results, indent=2) + "\n")
    if args.save and network is not None:
        card = {**card, "metrics": results}
        if (args.weights.parent / "metrics.jsonl").exists():  # a run folder: the report draws its losses
            card["curve"] = read_curve(args.weights.parent)
        if args.save.suffix == ".json":
            write_atomically(args.save, json.dumps(card, indent=2) + "\n")
        else:
            save_weights(args.save, network.half(), card)


def arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.evaluate_faces", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", type=Path, help="a generator of gan or acgan")
    what.add_argument("--images", type=Path, metavar="FOLDER", help="a folder of generated faces")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder with the real faces")
    parser.add_argument("--count", type=int, help="noise vectors (default: as many as there are test faces)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="another judge than the released one")
    parser.add_argument("--inception", metavar="FILE", help="torch-fidelity's Inception weights, or the word download")
    parser.add_argument("--nearest", type=Path, metavar="FILE", help="picture of eight faces over their nearest training faces")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--save", type=Path, metavar="FILE", help="release: round the weights to 16 bits, measure those, and write "
                        "them with their card to FILE (.safetensors; a name that ends in .json keeps the card alone)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.save and args.images:
        raise InputError("--save belongs to --weights; pictures have no card")
    return args


def make(weights: Path, count: int, seed: int, device: torch.device, rounded: bool
         ) -> tuple[nn.Module, dict[str, Any], Tensor, Tensor | None]:
    """The generator of a weights file, its card, `count` faces uint8 (N, 3, 64, 64), and for an ACGAN the pairs (2, N, 3, 64, 64)
    that they are taken from, one with and one without the attribute in turn."""
    card = load_weights(weights)[1]
    network: Any
    if "attribute" not in card["options"]:
        network = round_off(gan.generate.load_generator(weights, device), rounded)
        return network, card, gan.generate.generate(network, gan.models.noise(count, seed)), None
    network, strength = acgan.generate.load_generator(weights, device)
    pairs = acgan.train.pairs(round_off(network, rounded), acgan.models.noise(count, seed), strength)
    return network, card, torch.where((torch.arange(count) % 2 == 0)[:, None, None, None], pairs[0], pairs[1]), pairs


def round_off(network: Any, rounded: bool) -> Any:
    """The network as it is after a release in 16 bits."""
    return network.half().float() if rounded else network


def show(results: dict[str, Any]) -> None:
    for name, title in (("attributes", "FD(attributes)"), ("inception", "FID (Inception)")):
        for kind, what in (("", "generated"), (", real", "training faces, the floor")):
            if values := results.get(name + kind):
                print(f"{title}, {what}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if "detected" in results:
        print(f"HOG detector: {results['detected']:.1f} % of {min(GRADED, results['faces'])} faces, "
              f"{results['detected, real']:.1f} % of the test faces")
    else:
        print("HOG detector: not measured; pip install dlib-bin")
    if pairs := results.get("pairs"):
        low, high = pairs["flipped, 95 %"]
        print(f"{pairs['pairs']} pairs: flipped {pairs['flipped']:.2f} % (95 %: {low:.2f} to {high:.2f}); named as asked: with "
              f"{pairs['named with']:.2f}, without {pairs['named without']:.2f}; edit ratio {pairs['edit ratio']:.3f}")
        print("judged differently within a pair, %: " + ", ".join(f"{key} {value:.1f}" for key, value in pairs["changed"].items()))
        for name, values in results["classes"].items():
            print(f"{name} the attribute: " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))


if __name__ == "__main__":
    run_main(main)
