"""The numbers used in README.md and in the report: reads them from the cards of released weights (such as
gan/weights/) and of other runs (such as gan/results/) and from pilots.json, validates and names them.

In a text, `{dann/dann-mnistm-svhn.svhn test.accuracy:.1f}` stands for a number. The name consists of a card
(its path without `weights`, `results` and suffix) and the keys in its metrics; a Python format may follow
(default: two decimals). In README.md, which is edited directly, each number is followed by its name in a
comment: `74.2<!-- {…} -->`.
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
# accuracies in the original report, in the order of DIRECTIONS; it does not use self-training
ORIGINAL = {"source-only": (26.52, 42.01), "dann": (46.40, 45.21), "adda": (61.27, 56.03),
            "target-only": (90.0, 91.0)}
# accuracies of the networks published by its author on our two test sets, on which they were not trained
ORIGINAL_NETWORKS = {"dann": (42.2, 46.8), "adda": (59.1, 56.1)}
# the best of 30 reports of this homework, most selected by test accuracy; for self-training, of any method
PEERS = {"source-only": (45.4, 53.0), "dann": (55.9, 82.6), "adda": (61.3, 67.6), "adda+st": (61.3, 84.4),
         "target-only": (94.3, 98.7)}
# hash of the training images of an earlier MNIST-M of this repository, which blended digits with their grey
# levels, unlike the published set
EARLIER = "40b8b56d26f6dc58"

ANY, COUNT, PERCENT, SHARE = Range(), Range(least=0), Range(least=0, most=100), Range(least=0, most=1)
# the values that the tables use from a card, as schemas for `problem`
RUN = {"command": str, "hardware": str, "steps": COUNT, "seconds": COUNT, "seed": COUNT,
       "metrics": {}, "options": {}, "data": {}}
DIGITS = {**RUN, "options": {"preset": str, "precision": str, "method": str, "source": str, "target": str,
                             "epochs": COUNT}}
DISTANCES = {"FD": ANY, "KD x1000": ANY, "precision": SHARE, "recall": SHARE}
CLASS = {**DISTANCES, "undecided": PERCENT, "undecided, real": PERCENT}
FACES = {**RUN, "metrics": {
    "attributes": DISTANCES, "attributes, real": DISTANCES, "detected?": PERCENT, "detected, real?": PERCENT,
    "pairs?": {"flipped": PERCENT, "flipped, 95 %": (PERCENT, PERCENT), "edit ratio": ANY},
    "classes?": {"with": CLASS, "without": CLASS}}}
FORMS: dict[str, dict[str, Any]] = {"gan": {**FACES, "options": {"deviation?": ANY}},
                                    "acgan": {**FACES, "options": {"attribute": str}},
                                    "dann": DIGITS, "adda": DIGITS}
MEASURED: dict[str, Any] = {"title": str, "images": str, "accuracy": PERCENT, "per_class": []}
PILOT: dict[str, Any] = {"columns": [str], "rows": [[str]]}


def gather() -> tuple[dict[str, Any], list[str]]:
    """The content of report/results.json on runs, with their metrics and provenance, and a message for each
    damaged file. Runs whose numbers cannot be reproduced with the published data are only listed by name."""
    problems: list[str] = []
    runs, ablation = cards(problems, "weights", "results"), cards(problems, "results/ablation")
    judge = tried(problems, read_card, ROOT / "scripts/weights/attributes.json", "scripts.attributes")
    results = {"original report": ORIGINAL, "original networks": ORIGINAL_NETWORKS,
               "best of the peers": PEERS, "runs": [*filter(holds, runs)],
               "ablation": [*filter(holds, ablation)], "judge": judge or {}, "pilots": pilots(problems),
               "to be trained again": [run["card"] for run in runs + ablation if not holds(run)]}
    return json.loads(json.dumps(results)), problems  # converts tuples to lists, as when reading it back


def cards(problems: list[str], *folders: str) -> list[dict[str, Any]]:
    """The cards in these folders of the four packages, with the SHA-256 of released weights."""
    paths = [path for package in PROGRAMS for folder in folders
             for path in sorted((ROOT / package / folder).glob("*.json"))]
    return [card for path in paths if (card := tried(problems, read_run, path))]


def tried(problems: list[str], read: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any] | None:
    """The result of `read`, or None if it raises InputError, whose message is appended to `problems`."""
    try:
        return read(*arguments)
    except InputError as problem:
        problems.append(str(problem))
        return None


def read_run(path: Path) -> dict[str, Any]:
    """A card, with its path and its weights' hash added. InputError if it does not match its schema."""
    package = path.relative_to(ROOT).parts[0]
    card = read_card(path, PROGRAMS[package])
    demand(path, card, FORMS[package])
    if FORMS[package] is DIGITS:
        accuracy = {"accuracy": PERCENT, "after steps?": {}}
        demand(path, card["metrics"],
               {measurement(card): accuracy, f"{measurement(card, adabn=True)}?": accuracy})
    weights = path.with_suffix(".safetensors")
    sha256 = hashlib.sha256(read_bytes(weights)).hexdigest() if weights.exists() else None
    ours = {"card": path.relative_to(ROOT).as_posix(), "weights": sha256}
    metrics = {name: value for name, value in card["metrics"].items() if not outdated(name, value)}
    return {**ours, **card, **ours, "metrics": metrics}


def measurement(card: dict[str, Any], adabn: bool = False) -> str:
    """The key in a card's metrics for the result on the test images of the target."""
    return f"{card['options']['target']} test{', AdaBN' if adabn else ''}"


def earlier(card: dict[str, Any]) -> bool:
    """Whether a run was trained on the earlier MNIST-M."""
    return card["data"].get("mnistm") == EARLIER


def outdated(name: str, value: Any) -> bool:
    """Whether a metric was measured on the earlier MNIST-M: metrics then did not contain the images' hash."""
    return name.startswith("mnistm ") and not (isinstance(value, dict) and "images" in value)


def holds(card: dict[str, Any]) -> bool:
    """Whether this card's numbers can be reproduced with the published data. They cannot if the result was
    measured on the earlier MNIST-M, or if weights that were trained on it are not released."""
    tested = "target" not in card["options"] or measurement(card) in card["metrics"]
    return tested and (bool(card["weights"]) or not earlier(card))


def pilots(problems: list[str]) -> dict[str, Any]:
    """The tables in pilots.json, of runs of which only numbers were kept; none on the earlier MNIST-M."""
    path = ROOT / "scripts/pilots.json"
    found = tried(problems, read_object, path) or {}
    wrong = [name for name, pilot in found.items()
             if problem(pilot, PILOT, name)
             or any(len(row) != len(pilot["columns"]) for row in pilot["rows"])]
    problems.extend(f"{path} is damaged: {name!r} is not a table with columns and rows" for name in wrong)
    return {name: pilot for name, pilot in found.items()
            if name not in wrong and not pilot.get("on the earlier MNIST-M")}


def measured(folder: Path, problems: list[str]) -> dict[str, Any]:
    """The measurements of the released networks by this report, by name."""
    return {path.stem: figures for path in sorted(folder.glob("*.json"))
            if (figures := tried(problems, read_figures, path))}


def read_figures(path: Path) -> dict[str, Any]:
    """The output of `common.classify.report` for one network, read from a file."""
    figures = read_object(path)
    demand(path, figures, MEASURED)
    shares = figures["per_class"]
    if len(shares) != 10 or any(share is not None and problem(share, PERCENT) for share in shares):
        raise InputError(f"{path} is damaged: per_class is not ten percentages")
    return figures


def demand(path: Path, value: Any, form: Any) -> None:
    """Raises InputError if the content of a file does not match the schema `form`."""
    if wrong := problem(value, form):
        raise InputError(f"{path} is damaged: {wrong}")


def problem(value: Any, form: Any, name: str = "it") -> str | None:
    """Describes the first mismatch between a value and the schema `form`, or returns None. A schema is a
    type, the `Range` of a number, [the schema of all items of a list], (the schema of each item), or a
    dictionary from keys (with ? if optional) to schemas."""
    if value is None:
        return f"{name} is missing"
    if isinstance(form, Range):
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
            return f"{name} is not a valid number"
        wrong = form.problem(value)
        return f"{name} {wrong}" if wrong else None
    kind: Any = form if isinstance(form, type) else dict if isinstance(form, dict) else list
    if not isinstance(value, kind):
        return f"{name} is not {'a string' if kind is str else 'a list' if kind is list else 'an object'}"
    if isinstance(form, tuple) and len(value) != len(form):
        return f"{name} has {len(value)} values instead of {len(form)}"
    return next((wrong for part in _parts(value, form, name) if (wrong := problem(*part))), None)


def _parts(value: Any, form: Any, name: str) -> list[tuple[Any, Any, str]]:
    """The items of a value, each with its schema and name; missing items are None."""
    if isinstance(form, dict):
        return [(value.get(key.rstrip("?")), part, key.rstrip("?")) for key, part in form.items()
                if not key.endswith("?") or value.get(key.rstrip("?")) is not None]
    if isinstance(form, list | tuple):
        forms = form * len(value) if isinstance(form, list) else form
        return [(item, part, name) for item, part in zip(value, forms, strict=False)]
    return []


def names(results: Mapping[str, Any]) -> dict[str, float | str]:
    """All numbers of the results, by their names in texts."""
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
    for title, pilot in results["pilots"].items():  # a cell's name: title of its row, index of its column
        for row in pilot["rows"]:
            for column, cell in enumerate(row):
                least, to, most = cell.partition(" to ")
                name = f"pilots.{title}.{row[0]}.{column}"
                found |= {name: cell, **({f"{name}.least": least, f"{name}.most": most} if to else {})}
    return (found | flat("judge", results["judge"].get("metrics", {}))
            | flat("measured", results.get("measured", {})))


def flat(name: str, value: Any) -> dict[str, float | str]:
    """The finite numbers in a nested value, by the path of keys to them."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {deep: number for key, part in pairs for deep, number in flat(f"{name}.{key}", part).items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return {name: value} if is_number else {}


NAMED = r"\{([^{}:\n]+)(?::([^{}:\n]*))?\}"
MISSING = "(missing)"


def fill(text: str, known: Mapping[str, float | str], problems: list[str]) -> str:
    """The text with each name in braces replaced by its number. Unknown names and invalid formats are
    appended to `problems`."""
    def number(found: re.Match[str]) -> str:
        return _formatted(found[1], found[2], known, problems)

    return re.sub(NAMED, number, text)


def refill(text: str, known: Mapping[str, float | str], problems: list[str]) -> str:
    """The text with the number before each comment, `number<!-- {name} -->`, updated."""
    def number(found: re.Match[str]) -> str:
        return _formatted(found[2], found[3], known, problems) + found[1]

    return re.sub(rf"(?:[\d.,]*\d|{re.escape(MISSING)})(<!-- {NAMED} -->)", number, text)


def _formatted(name: str, form: str | None, known: Mapping[str, float | str], problems: list[str]) -> str:
    value = known.get(name)
    if value is None:
        problems.append(f"the text names {{{name}}}, which is not a number of the results")
        return MISSING
    try:
        return format(value, form if form is not None else ".2f" if isinstance(value, float) else "")
    except ValueError:
        problems.append(f"the text formats {{{name}}} as {form!r}, which is not a valid format for it")
        return MISSING
