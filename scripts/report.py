"""Every figure and table of the report, from released weights: `python -m scripts.report --data hw3_data`.

Writes into report/: the faces' figures, loss curves, t-SNE, confusion matrices, misread digits, prediction files, results.json with
every number, and report.md, which holds them all (`--html`: one self-contained page too). A part whose inputs did not change is not
made again; one that cannot be made does not stop the others, and is named at the end. `--runs FOLDER` takes the networks of
scripts/results.sh's run folders instead of the released ones (the tables of whole runs stay those of the cards). `--write` puts
the tables into README.md, and needs no data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import acgan.generate
import acgan.models
import acgan.train
import adda.predict
import adda.visualize
import dann.predict
import dann.visualize
import gan.generate
import gan.models
from common import visualize
from common.classify import predict_classes, report, write_predictions
from common.cli import InputError, Parser, run_main
from common.datasets import fingerprint, listing, read_images, read_labels
from common.device import choose_device
from common.domains import TITLES
from common.figures import draw_losses, grid, read_curve, save_picture
from common.files import write_atomically
from scripts import architecture, report_figures, report_tables
from scripts.report_tables import DIRECTIONS, ROOT

BEGIN, END = "<!-- made by scripts.report from the cards: do not edit -->", "<!-- end -->"
DIGITS = {"dann": (dann.predict, dann.visualize), "adda-st": (adda.predict, adda.visualize)}
METHODS = {"dann": "DANN", "adda-st": "ADDA + self-training"}


@dataclass(frozen=True)
class Part:
    """Something that is made: of `inputs` (files; folders of images), by `make`, into files in the report's folder."""

    name: str
    inputs: list[Path]
    outputs: list[str]
    make: Callable[[], None]


def main() -> None:
    parser = Parser(prog="python -m scripts.report", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    parser.add_argument("--output", type=Path, default=ROOT / "report", help="folder to write")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="run folders of scripts/results.sh (default: released weights)")
    parser.add_argument("--only", metavar="NAME", help="the parts whose name begins so: faces, losses, tsne, digits")
    parser.add_argument("--html", action="store_true", help="report.html too, with the pictures in it")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md, and stop")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.write:
        readme = ROOT / "README.md"
        write_atomically(readme, with_tables(readme.read_text(), report_tables.gather()))
        return
    device = choose_device(args.device)
    args.output.mkdir(parents=True, exist_ok=True)
    parts = [*face_parts(args.output, args.runs, device), *digit_parts(args.output, args.runs, args.data, device)]
    wanted = [part for part in parts if part.name.startswith(args.only or "")]
    if not wanted:
        raise InputError(f"no part begins with {args.only!r}; there are {', '.join(part.name for part in parts)}")
    problems = build(args.output, wanted)
    write_report(args.output, args.html)
    print(f"{args.output / 'report.md'}")
    if problems:
        raise InputError("not made: " + "; ".join(problems))


def build(output: Path, parts: list[Part]) -> list[str]:
    """Make what is not as its inputs are; return a sentence for each part that could not be made."""
    problems, stamps_file = [], output / ".stamps.json"
    stamps = json.loads(stamps_file.read_text()) if stamps_file.exists() else {}
    for place, part in enumerate(parts, 1):
        try:
            stamp = stamp_of(part.inputs)
            if stamps.get(part.name) == stamp and all((output / name).exists() for name in part.outputs):
                print(f"{place}/{len(parts)} {part.name}: as it was", flush=True)
                continue
            print(f"{place}/{len(parts)} {part.name}", flush=True)
            part.make()
        except InputError as problem:
            problems.append(f"{part.name} ({problem})")
            continue
        stamps[part.name] = stamp
        write_atomically(stamps_file, json.dumps(stamps, indent=1) + "\n")
    return problems


def stamp_of(inputs: Iterable[Path]) -> str:
    """A hash of files' contents, and of folders' listings. InputError where one is missing."""
    digest = hashlib.sha256()
    for path in inputs:
        if path.is_dir():
            digest.update(fingerprint(listing(path)))
        elif path.is_file():
            digest.update(path.read_bytes())
        else:
            raise InputError(f"{path} is not there")
    return digest.hexdigest()


def code(*modules: Any) -> list[Path]:
    """The files of modules: a part is made again when the code that draws it has changed."""
    return [Path(module.__file__) for module in modules]


def face_parts(output: Path, runs: Path | None, device: torch.device) -> list[Part]:
    """fig1_2.jpg and fig2_2.jpg, as the graders' scripts draw them, and the losses of both trainings."""
    dcgan = runs / "dcgan/weights.safetensors" if runs else gan.generate.WEIGHTS
    acgan_weights = runs / "acgan/weights.safetensors" if runs else acgan.generate.WEIGHTS

    def faces() -> None:
        z = gan.models.noise(32, 0)
        save_picture(output / "fig1_2.jpg", grid(gan.generate.generate(gan.generate.load_generator(dcgan, device), z), 8))

    def pairs() -> None:
        generator, strength = acgan.generate.load_generator(acgan_weights, device)
        both = acgan.train.pairs(generator, acgan.models.noise(10, 0), strength)
        save_picture(output / "fig2_2.jpg", grid(both.flatten(0, 1), 10))

    def losses(source: Path, name: str) -> Callable[[], None]:
        def draw() -> None:
            curve = read_curve(source.parent) if runs else json.loads(source.read_text()).get("curve")
            if not curve:
                raise InputError(f"{source} holds no curve; release the run again with scripts.evaluate_faces --save")
            draw_losses(output / f"losses_{name}.png", curve, f"{name.upper()}: losses")
        return draw

    return [Part("faces-dcgan", [dcgan, *code(gan.models)], ["fig1_2.jpg"], faces),
            Part("faces-acgan", [acgan_weights, acgan_weights.with_suffix(".json"), *code(acgan.models)], ["fig2_2.jpg"], pairs),
            *(Part(f"losses-{name}", [source := weights.parent / "metrics.jsonl" if runs else weights.with_suffix(".json")],
                   [f"losses_{name}.png"], losses(source, name))
              for name, weights in (("dcgan", dcgan), ("acgan", acgan_weights)))]


def digit_parts(output: Path, runs: Path | None, data: Path, device: torch.device) -> list[Part]:
    """For each adapted network: its predictions, confusion matrix and misread digits, and t-SNE of its test features."""
    parts = []
    for kind, (predict, drawing) in DIGITS.items():
        for source, target in DIRECTIONS:
            name = f"{kind}-{source}-{target}"
            weights = runs / f"{kind}-{source}/weights.safetensors" if runs else predict.released(target)
            test = data / "digits" / target / "test"
            parts += [Part(f"digits-{name}", [weights, test, test.with_suffix(".csv"), *code(report_figures)],
                           [f"{kind}/predict_{source}_to_{target}.csv", f"confusion_{name}.png", f"misread_{name}.png",
                            f"measured/{name}.json"],
                           classified(output, kind, source, target, predict, weights, test, device)),
                      Part(f"tsne-{name}", [weights, test, data / "digits" / source / "test", *code(visualize, visualize.tsne)],
                           [f"tsne_{name}_digit.png", f"tsne_{name}_domain.png"],
                           embedded(output, name, predict, drawing, weights, data, device))]
    return parts


def classified(output: Path, kind: str, source: str, target: str, predict: Any, weights: Path, test: Path,
               device: torch.device) -> Callable[[], None]:
    def make() -> None:
        name, title = f"{kind}-{source}-{target}", f"{METHODS[kind]}, {TITLES[source]} → {TITLES[target]}"
        images, names = read_images(test)
        labels = read_labels(test.with_suffix(".csv"), names)
        predictions = predict_classes(predict.load_network(weights, device)[0], images.to(device)).cpu()
        figures = report(predictions, labels)
        for folder in (kind, "measured"):
            (output / folder).mkdir(exist_ok=True)
        write_predictions(output / kind / f"predict_{source}_to_{target}.csv", names, predictions)
        write_atomically(output / "measured" / f"{name}.json", json.dumps({"title": title, **figures}, indent=1) + "\n")
        report_figures.confusion(output / f"confusion_{name}.png", torch.tensor(figures["confusion"]), title)
        report_figures.misread(output / f"misread_{name}.png", images, labels, predictions, title)
    return make


def embedded(output: Path, name: str, predict: Any, drawing: Any, weights: Path, data: Path,
             device: torch.device) -> Callable[[], None]:
    def make() -> None:
        network, card = predict.load_network(weights, device)
        visualize.draw(network, card["options"], drawing.features_of, drawing.TITLES, data, device, output / f"tsne_{name}.png",
                       1000, 0)
    return make


def write_report(output: Path, html: bool) -> None:
    """results.json and report.md from what lies in the folder, and report.html where asked for."""
    results = report_tables.gather()
    results["measured"] = {path.stem: json.loads(path.read_text()) for path in sorted((output / "measured").glob("*.json"))}
    results["networks"] = architecture.networks()
    write_atomically(output / "results.json", json.dumps(results, indent=1) + "\n")
    tables = {"architecture": architecture.tables(results["networks"]), **report_tables.tables(results)}
    text = re.sub(r"<!-- table: (.+?) -->", lambda found: tables[found[1]], (ROOT / "scripts" / "report.md").read_text())
    write_atomically(output / "report.md", text)
    if html:
        write_atomically(output / "report.html", page(text, output))


def page(text: str, folder: Path) -> str:
    """Markdown → one HTML page with its pictures in it."""
    import markdown

    def embed(found: re.Match[str]) -> str:
        path = folder / found[1]
        if not path.exists():
            return found[0]
        return f'src="data:{mimetypes.guess_type(path)[0]};base64,{base64.b64encode(path.read_bytes()).decode()}"'

    body = re.sub(r'src="([^"]+)"', embed, markdown.markdown(text, extensions=["tables", "toc"]))
    style = "body{max-width:60em;margin:2em auto;font-family:sans-serif}td,th{padding:.2em .6em;border-bottom:1px solid #ccc;" \
            "text-align:left}table{border-collapse:collapse;font-size:85%;margin:1em 0}img{max-width:100%}"
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title><style>{style}</style>{body}</html>\n'


def with_tables(text: str, results: dict[str, Any]) -> str:
    """The README's text with the tables of these results between its two markers."""
    if BEGIN not in text or END not in text:
        raise InputError(f"README.md lacks the marks {BEGIN} and {END}; put them where the tables belong")
    before, rest = text.split(BEGIN)
    tables = (f"{report_tables.results_table(results)}\n\n<details><summary>Every run behind the table</summary>\n\n"
              f"{report_tables.runs_table(results)}\n\n</details>\n\n{report_tables.faces_table(results)}")
    return f"{before}{BEGIN}\n{tables}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    run_main(main)
