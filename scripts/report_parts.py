"""The report's parts: figures, prediction files and measurements, each made only from weights and data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import acgan.generate
import acgan.models
import acgan.train
import adda.models
import adda.predict
import adda.visualize
import dann.models
import dann.predict
import dann.visualize
import gan.generate
import gan.models
from common import classify, figures, runs, visualize
from common.cli import InputError
from common.datasets import content_hash
from common.domains import TITLES, read_split
from common.files import make_folder, read_object, write
from scripts import report_figures
from scripts.report_numbers import ANY, DIRECTIONS, demand

METHODS = {"dann": "DANN", "adda-st": "ADDA + self-training"}


@dataclass(frozen=True)
class Part:
    """A part of the report, and the function that creates its files (which are listed in the Snakefile)."""

    name: str
    make: Callable[[], None]


@dataclass(frozen=True)
class Digits:
    """An adapted network, its test data, and the folder for its figures."""

    kind: str
    source: str
    target: str
    weights: Path
    data: Path
    output: Path
    device: torch.device

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.source}-{self.target}"

    @property
    def title(self) -> str:
        return f"{METHODS[self.kind]}, {TITLES[self.source]} → {TITLES[self.target]}"

    def load(self) -> tuple[Any, dict[str, Any]]:
        """The network and its card. InputError if it was adapted between other domains than expected."""
        package = dann if self.kind == "dann" else adda
        network, card = package.predict.load_network(self.weights, self.device)
        if (card["options"]["source"], card["options"]["target"]) != (self.source, self.target):
            raise InputError(f"{self.weights} is not for {TITLES[self.source]} → {TITLES[self.target]}; is "
                             "it the right file?")
        return network, card


def parts(output: Path, run_folders: Path | None, data: Path, device: torch.device) -> list[Part]:
    """All parts. With `run_folders`, from scripts/results.sh, those runs replace the released weights."""
    found = face_parts(output, run_folders, device)
    for kind, released in (("dann", dann.predict.released), ("adda-st", adda.predict.released)):
        for source, target in DIRECTIONS:
            weights = (run_folders / f"{kind}-{source}/weights.safetensors" if run_folders
                       else released(target))
            found += digit_parts(Digits(kind, source, target, weights, data, output, device))
    return found


def face_parts(output: Path, run_folders: Path | None, device: torch.device) -> list[Part]:
    """fig1_2.jpg and fig2_2.jpg, as in the graders' scripts, the other figures of both generators, and their
    loss curves."""
    dcgan = run_folders / "dcgan/weights.safetensors" if run_folders else gan.generate.WEIGHTS
    pairs = run_folders / "acgan/weights.safetensors" if run_folders else acgan.generate.WEIGHTS

    def draw_faces() -> None:
        generator = gan.generate.load_generator(dcgan, device)
        faces = gan.generate.generate(generator, gan.models.noise(200, 0))
        figures.save_picture(output / "fig1_2.jpg", figures.grid(faces[:32], 8))
        figures.save_picture(output / "sheet_dcgan.jpg", figures.grid(faces, 20))
        walk = figures.walk(gan.models.noise(9, 0), 64)
        figures.save_walk(output / "walk_dcgan.gif", gan.generate.generate(generator, walk))

    def draw_pairs() -> None:
        generator, strength = acgan.generate.load_generator(pairs, device)
        both = acgan.train.pairs(generator, acgan.models.noise(10, 0), strength)
        figures.save_picture(output / "fig2_2.jpg", figures.grid(both.flatten(0, 1), 10))
        strip = acgan.generate.strip(generator, acgan.models.noise(10, 0), strength)
        figures.save_picture(output / "strip_acgan.jpg", figures.grid(strip, 10))

    return [Part("faces-dcgan", draw_faces), Part("faces-acgan", draw_pairs),
            loss_part(output, "dcgan", dcgan, run_folders is not None),
            loss_part(output, "acgan", pairs, run_folders is not None)]


def loss_part(output: Path, name: str, weights: Path, of_run: bool) -> Part:
    """The loss curves of a training, from its run folder or from the card of released weights."""
    source = weights.parent / "metrics.jsonl" if of_run else weights.with_suffix(".json")

    def draw() -> None:
        curve = (figures.curve(runs.read_records(source.parent)) if of_run
                 else read_object(source).get("curve"))
        if not curve:
            raise InputError(f"{source} has no curve; release the run again with "
                             "scripts.evaluate_faces --save")
        demand(source, curve, {"step": [ANY], "D loss": [ANY], "G loss": [ANY], "class?": [ANY]})
        if len({len(curve[column]) for column in ("step", "D loss", "G loss", "class")
                if column in curve}) != 1:
            raise InputError(f"{source} is damaged: the columns of its curve differ in length")
        figures.draw_losses(output / f"losses_{name}.png", curve, f"{name.upper()}: losses")

    return Part(f"losses-{name}", draw)


def digit_parts(digits: Digits) -> list[Part]:
    """For an adapted network: predictions, confusion matrix, misclassified digits; t-SNE of test features."""
    return [Part(f"digits-{digits.name}", lambda: measure(digits)),
            Part(f"tsne-{digits.name}", lambda: embed(digits))]


def measure(digits: Digits) -> None:
    """Classify the test images of the target, and write the predictions, the measurements and the figures."""
    output, title, split = (digits.output, digits.title,
                            read_split(digits.data, digits.target, "test", labelled=True))
    images, labels = split.images, split.labels
    assert labels is not None
    predictions = classify.predict_classes(digits.load()[0], images.to(digits.device)).cpu()
    found = {"title": title, "images": content_hash(images), **classify.report(predictions, labels)}
    for name in (digits.kind, "measured"):
        make_folder(output / name)
    classify.write_predictions(output / digits.kind / f"predict_{digits.source}_to_{digits.target}.csv",
                               split.names, predictions)
    write(output / "measured" / f"{digits.name}.json", json.dumps(found, indent=1) + "\n")
    report_figures.confusion(output / f"confusion_{digits.name}.png", torch.tensor(found["confusion"]), title)
    report_figures.misread(output / f"misread_{digits.name}.png", images, labels, predictions, title)


def embed(digits: Digits) -> None:
    """Write the t-SNE of 1,000 test images per domain, coloured by digit and by domain, and its points."""
    drawing = dann.visualize if digits.kind == "dann" else adda.visualize
    network, card = digits.load()
    visualize.draw(network, digits.weights, card, drawing.network_of, drawing.TITLES, digits.data,
                   digits.device, digits.output / f"tsne_{digits.name}.png", 1000, 0)
