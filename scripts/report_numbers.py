"""Every number of the project: read from the cards beside weights (gan/weights/ and likewise), those of other measured runs
(gan/results/) and pilots.json, checked, and given names by which texts use them.

In a text, `{dann/dann-mnistm-svhn.svhn test.accuracy:.1f}` stands for a number: a card (its path without `weights`, `results` and
the ending), the names in its metrics down to the number, and Python's format where two decimals are not wanted. README.md, which
people edit in place, holds a number and behind it the same name in a comment: `74.2<!-- {…} -->`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.cli import InputError, Range
from common.files import read_bytes, read_object
from common.weights import read_card

ROOT = Path(__file__).parent.parent
PROGRAMS = {"gan": "gan.train", "acgan": "acgan.train", "dann": "dann.train", "adda": "adda.train"}
DIRECTIONS = (("mnistm", "svhn"), ("svhn", "mnistm"))
# accuracies of the original report, in the order of DIRECTIONS; it has no self-training
ORIGINAL = {"source-only": (26.52, 42.01), "dann": (46.40, 45.21), "adda": (61.27, 56.03), "target-only": (90.0, 91.0)}
# what the networks that its author published score on digits they were not trained on: those of our two test sets
ORIGINAL_NETWORKS = {"dann": (42.2, 46.8), "adda": (59.1, 56.1)}
# the best of 30 reports of the same homework, most of them picked by test accuracy; self-training: any method
PEERS = {"source-only": (45.4, 53.0), "dann": (55.9, 82.6), "adda": (61.3, 67.6), "adda+st": (61.3, 84.4),
         "target-only": (94.3, 98.7)}
# hash of the training images of this repository's earlier MNIST-M: digits blended with their grey levels, unlike the published set
EARLIER = "40b8b56d26f6dc58"

ANY, COUNT, PERCENT, SHARE = Range(), Range(least=0), Range(least=0, most=100), Range(least=0, most=1)
# what the tables take from a card, as forms for `problem`
RUN = {"command": str, "hardware": str, "steps": COUNT, "seconds": COUNT, "seed": COUNT, "metrics": {}, "options": {}, "data": {}}
DIGITS = {**RUN, "options": {"preset": str, "precision": str, "method": str, "source": str, "target": str, "epochs": COUNT}}
DISTANCES = {"FD": ANY, "KD x1000": ANY, "precision": SHARE, "recall": SHARE}
CLASS = {**DISTANCES, "undecided": PERCENT, "undecided, real": PERCENT}
FACES = {**RUN, "metrics": {
    "attributes": DISTANCES, "attributes, real": DISTANCES, "detected?": PERCENT, "detected, real?": PERCENT,
    "pairs?": {"flipped": PERCENT, "flipped, 95 %": (PERCENT, PERCENT), "edit ratio": ANY},
    "classes?": {"with": CLASS, "without": CLASS}}}
FORMS: dict[str, dict[str, Any]] = {"gan": {**FACES, "options": {"deviation?": ANY}},
                                    "acgan": {**FACES, "options": {"attribute": str}}, "dann": DIGITS, "adda": DIGITS}
MEASURED: dict[str, Any] = {"title": str, "images": str, "accuracy": PERCENT, "per_class": []}
PILOT: dict[str, Any] = {"columns": [str], "rows": [[str]]}


def gather() -> tuple[dict[str, Any], list[str]]:
    """What report/results.json holds of runs, each with what it reached and how it came to be; and a sentence for each file that
    is damaged. Runs whose numbers nobody would get from the published data are only named."""
    problems: list[str] = []
    runs, ablation = cards(problems, "weights", "results"), cards(problems, "results/ablation")
    judge = tried(problems, read_card, ROOT / "scripts/weights/attributes.json", "scripts.attributes")
    results = {"original report": ORIGINAL, "original networks": ORIGINAL_NETWORKS, "best of the peers": PEERS,
               "runs": [*filter(holds, runs)],
               "ablation": [*filter(holds, ablation)], "judge": judge or {}, "pilots": pilots(problems),
               "to be trained again": [run["card"] for run in runs + ablation if not holds(run)]}
    return json.loads(json.dumps(results)), problems  # as it is read back: lists for tuples


def cards(problems: list[str], *folders: str) -> list[dict[str, Any]]:
    """The cards in these folders of the four packages, each with the SHA-256 of its weights where they are released."""
    paths = [path for package in PROGRAMS for folder in folders for path in sorted((ROOT / package / folder).glob("*.json"))]
    return [card for path in paths if (card := tried(problems, read_run, path))]


def tried(problems: list[str], read: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any] | None:
    """What `read` gives. None where it cannot, with its sentence among the problems."""
    try:
        return read(*arguments)
    except InputError as problem:
        problems.append(str(problem))
        return None


def read_run(path: Path) -> dict[str, Any]:
    """A card, with its path and its weights' hash in it. InputError where it lacks what the tables need, or is of another form."""
    package = path.relative_to(ROOT).parts[0]
    card = read_card(path, PROGRAMS[package])
    demand(path, card, FORMS[package])
    if FORMS[package] is DIGITS:
        accuracy = {"accuracy": PERCENT, "after steps?": {}}
        demand(path, card["metrics"], {measurement(card): accuracy, f"{measurement(card, adabn=True)}?": accuracy})
    weights = path.with_suffix(".safetensors")
    sha256 = hashlib.sha256(read_bytes(weights)).hexdigest() if weights.exists() else None
    ours = {"card": path.relative_to(ROOT).as_posix(), "weights": sha256}
    metrics = {name: value for name, value in card["metrics"].items() if not outdated(name, value)}
    return {**ours, **card, **ours, "metrics": metrics}


def measurement(card: dict[str, Any], adabn: bool = False) -> str:
    """The name in a card's metrics of the result on the target's test images."""
    return f"{card['options']['target']} test{', AdaBN' if adabn else ''}"


def earlier(card: dict[str, Any]) -> bool:
    """Whether a run was trained on the earlier MNIST-M."""
    return card["data"].get("mnistm") == EARLIER


def outdated(name: str, value: Any) -> bool:
    """Whether one of a card's metrics was measured on the earlier MNIST-M: those of that time do not name the images."""
    return name.startswith("mnistm ") and not (isinstance(value, dict) and "images" in value)


def holds(card: dict[str, Any]) -> bool:
    """Whether someone with the published data gets this card's numbers: not where the result was measured on the earlier MNIST-M,
    nor where the earlier MNIST-M trained weights that are not there to be measured."""
    tested = "target" not in card["options"] or measurement(card) in card["metrics"]
    return tested and (bool(card["weights"]) or not earlier(card))


def pilots(problems: list[str]) -> dict[str, Any]:
    """The tables in pilots.json: runs of which only the numbers were kept. Those of the earlier MNIST-M are left out."""
    path = ROOT / "scripts/pilots.json"
    found = tried(problems, read_object, path) or {}
    wrong = [name for name, pilot in found.items()
             if problem(pilot, PILOT, name) or any(len(row) != len(pilot["columns"]) for row in pilot["rows"])]
    problems.extend(f"{path} is damaged: {name!r} is no table with columns and rows" for name in wrong)
    return {name: pilot for name, pilot in found.items() if name not in wrong and not pilot.get("on the earlier MNIST-M")}


def measured(folder: Path, problems: list[str]) -> dict[str, Any]:
    """What this report measured of the released networks, by their names."""
    return {path.stem: figures for path in sorted(folder.glob("*.json")) if (figures := tried(problems, read_figures, path))}


def read_figures(path: Path) -> dict[str, Any]:
    """What `common.classify.report` found of one network, as it was written."""
    figures = read_object(path)
    demand(path, figures, MEASURED)
    shares = figures["per_class"]
    if len(shares) != 10 or any(share is not None and problem(share, PERCENT) for share in shares):
        raise InputError(f"{path} is damaged: per_class is not ten percentages")
    return figures


def demand(path: Path, value: Any, form: Any) -> None:
    """InputError where what a file holds is not of this form."""
    if wrong := problem(value, form):
        raise InputError(f"{path} is damaged: {wrong}")


def problem(value: Any, form: Any, name: str = "it") -> str | None:
    """What in a value that was read back is not of this form; None where nothing is. A form is a type, the `Range` of a number,
    [the form of all items of a list], (the forms of each), or names (with ? where one may be missing) and their forms."""
    if value is None:
        return f"{name} is missing"
    if isinstance(form, Range):
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
            return f"{name} is no number that it can be"
        wrong = form.problem(value)
        return f"{name} {wrong}" if wrong else None
    kind: Any = form if isinstance(form, type) else dict if isinstance(form, dict) else list
    if not isinstance(value, kind):
        return f"{name} is {'no text' if kind is str else 'no list' if kind is list else 'no object with names and values'}"
    if isinstance(form, tuple) and len(value) != len(form):
        return f"{name} has {len(value)} values instead of {len(form)}"
    return next((wrong for part in _parts(value, form, name) if (wrong := problem(*part))), None)


def _parts(value: Any, form: Any, name: str) -> list[tuple[Any, Any, str]]:
    """What lies in a value, each part with its form and its name; a part that is missing is None."""
    if isinstance(form, dict):
        return [(value.get(key.rstrip("?")), part, key.rstrip("?")) for key, part in form.items()
                if not key.endswith("?") or value.get(key.rstrip("?")) is not None]
    if isinstance(form, list | tuple):
        forms = form * len(value) if isinstance(form, list) else form
        return [(item, part, name) for item, part in zip(value, forms, strict=False)]
    return []


def names(results: Mapping[str, Any]) -> dict[str, float | str]:
    """Every number of the results by its name in texts."""
    found: dict[str, float | str] = {}
    for run in (*results["runs"], *results["ablation"]):
        name = re.sub(r"weights/|results/|\.json$", "", run["card"])
        found |= flat(name, {**run["metrics"], "steps": run["steps"], "minutes": run["seconds"] / 60})
    for title, layers in results.get("networks", {}).items():
        found[f"networks.{title}.million parameters"] = sum(row[2] for row in layers) / 1e6
    for whose in ("original report", "best of the peers"):
        for method, pair in results[whose].items():
            found |= {f"{whose}.{method}.{source}-{target}": value
                      for (source, target), value in zip(DIRECTIONS, pair, strict=True)}
    for title, pilot in results["pilots"].items():  # a cell by its row's title and its column's number
        for row in pilot["rows"]:
            for column, cell in enumerate(row):
                least, to, most = cell.partition(" to ")
                name = f"pilots.{title}.{row[0]}.{column}"
                found |= {name: cell, **({f"{name}.least": least, f"{name}.most": most} if to else {})}
    return found | flat("judge", results["judge"].get("metrics", {})) | flat("measured", results.get("measured", {}))


def flat(name: str, value: Any) -> dict[str, float | str]:
    """The finite numbers below a value, each by the names that lead to it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {deep: number for key, part in pairs for deep, number in flat(f"{name}.{key}", part).items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return {name: value} if is_number else {}


NAMED = r"\{([^{}:\n]+)(?::([^{}:\n]*))?\}"
MISSING = "(missing)"


def fill(text: str, known: Mapping[str, float | str], problems: list[str]) -> str:
    """The text with a number for each name in braces. A name that is unknown, or a format that does not fit, is among the
    problems."""
    def number(found: re.Match[str]) -> str:
        return _formatted(found[1], found[2], known, problems)

    return re.sub(NAMED, number, text)


def refill(text: str, known: Mapping[str, float | str], problems: list[str]) -> str:
    """The text with what `number<!-- {name} -->` holds in front of each comment brought up to date."""
    def number(found: re.Match[str]) -> str:
        return _formatted(found[2], found[3], known, problems) + found[1]

    return re.sub(rf"(?:[\d.,]*\d|{re.escape(MISSING)})(<!-- {NAMED} -->)", number, text)


def _formatted(name: str, form: str | None, known: Mapping[str, float | str], problems: list[str]) -> str:
    value = known.get(name)
    if value is None:
        problems.append(f"the text names {{{name}}}, which is no number of the results")
        return MISSING
    try:
        return format(value, form if form is not None else ".2f" if isinstance(value, float) else "")
    except ValueError:
        problems.append(f"the text asks for {{{name}}} as {form!r}, which is no format for it")
        return MISSING
