"""Every number of the project, gathered from the cards beside weights (gan/weights/ and likewise) and of other measured runs
(gan/results/), and the tables made of them for README.md and for the report."""

from __future__ import annotations

import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DIRECTIONS = (("mnistm", "svhn"), ("svhn", "mnistm"))
# accuracies of the original report, in the order of DIRECTIONS; it has no self-training
ORIGINAL = {"source-only": (26.52, 42.01), "dann": (46.40, 45.21), "adda": (61.27, 56.03), "target-only": (90.0, 91.0)}
# the best of 30 reports of the same homework, most of them picked by test accuracy; self-training: any method
PEERS = {"source-only": (45.4, 53.0), "dann": (55.9, 82.6), "adda": (61.3, 67.6), "adda+st": (61.3, 84.4),
         "target-only": (94.3, 98.7)}
RELEASED = ("dann", "adda+st")
ROWS = (("source-only", "default", "source only: no target image touched"), ("source-only", "adabn", "the same, then AdaBN"),
        ("dann", "default", "**DANN**, the weights of `hw3_p3.sh`"), ("dann", "seeds", "DANN, mean ± standard deviation"),
        ("adda", "default", "ADDA, our network"), ("adda+st", "default", "**ADDA + self-training**, the weights of `hw3_p4.sh`"),
        ("adda+st", "seeds", "ADDA + self-training, mean ± standard deviation"),
        ("target-only", "default", "target only, the upper bound"),
        ("source-only", "report", "report's recipe, source only"), ("dann", "report", "report's recipe, DANN"),
        ("adda", "report", "report's recipe, ADDA"),
        ("target-only", "report", "report's recipe, target only"))


# what is left out, as the cards in adda/results/ablation/ are named, and how the table names it
ABLATION = (("source", "source only"), ("source-no-normalise", "the same without normalisation"),
            ("source-no-invert", "the same without inversion"), ("whole", "**all stages**"),
            ("no-normalise", "the same without normalisation"), ("no-invert", "the same without inversion"),
            ("no-adversary", "the same without the adversary"), ("no-self-training", "the same without self-training"))


def gather() -> dict[str, Any]:
    """What report/results.json holds: every run with what it reached and how it came to be."""
    return json.loads(json.dumps({  # as it is read back: lists for tuples
        "original report": ORIGINAL, "best of the peers": PEERS, "runs": cards("weights", "results"),
        "ablation": cards("results/ablation"), "judge": json.loads((ROOT / "scripts/weights/attributes.json").read_text()),
        "pilots": json.loads((ROOT / "scripts/pilots.json").read_text())}))


def cards(*folders: str) -> list[dict[str, Any]]:
    """The cards in these folders of the four packages, each with the SHA-256 of its weights where they are released."""
    found = []
    for package in ("gan", "acgan", "dann", "adda"):
        for folder in folders:
            for path in sorted((ROOT / package / folder).glob("*.json")):
                weights = path.with_suffix(".safetensors")
                sha256 = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None
                found.append({"card": path.relative_to(ROOT).as_posix(), "weights": sha256, **json.loads(path.read_text())})
    return found


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Every table of the report by its name in scripts/report.md. `results`: what `gather` gives, and what was `measured`."""
    return {"results": results_table(results), "runs": runs_table(results), "ablation runs": runs_table(results, "ablation"),
            "ablation": ablation_table(results), "deviations": deviations_table(results), "faces": faces_table(results),
            "classes": classes_table(results), "per class": per_class_table(results),
            **{f"pilots: {name}": pilots_table(pilot) for name, pilot in results["pilots"].items()}}


def runs_of(results: dict[str, Any], *packages: str, of: str = "runs") -> list[dict[str, Any]]:
    """The runs of these packages; `of` may also be "ablation"."""
    return [run for run in results[of] if run["card"].startswith(packages)]


def accuracy(card: dict[str, Any], adabn: bool = False) -> float:
    """Percent of the target's test images."""
    return card["metrics"][f"{card['options']['target']} test{', AdaBN' if adabn else ''}"]["accuracy"]


def cell(found: list[dict[str, Any]], kind: str) -> str:
    """One entry of the table: a figure, and what is known of it."""
    if not found:
        return "not measured yet"
    first = min(found, key=lambda card: card["seed"])
    if kind == "seeds":
        values = [accuracy(card) for card in found]
        if len(values) < 2:
            return "one seed so far"
        return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} ({len(values)} seeds)"
    text = f"{accuracy(first, kind == 'adabn'):.2f}"
    if kind == "report":
        return f"{text} ({first['options']['epochs']} epochs)"
    return f"**{text}**" if first["options"]["method"] in RELEASED else text


def results_table(results: dict[str, Any]) -> str:
    """Accuracies of every method in both directions, beside the original report's and the best peer's, in the same order."""
    every = runs_of(results, "dann", "adda")
    lines = ["| accuracy on the target's test split, % | MNIST-M → SVHN hold-out (6,999) | SVHN → MNIST-M (10,000) | the original "
             "report's | best of 30 reports |", "|---|---|---|---|---|"]
    for method, kind, title in ROWS:
        cells = []
        for source, target in DIRECTIONS:
            found = [card for card in every if (card["options"]["preset"] == "report") == (kind == "report")
                     and [card["options"][name] for name in ("method", "source", "target")] == [method, source, target]]
            cells.append(cell(found, kind))
        others = [results[whose].get(method) for whose in ("original report", "best of the peers")]
        shown = ["–" if pair is None or kind in ("seeds", "adabn") else f"{pair[0]:g}, {pair[1]:g}" for pair in others]
        lines.append(f"| {title} | {' | '.join(cells + shown)} |")
    return "\n".join(lines)


def runs_table(results: dict[str, Any], of: str = "runs") -> str:
    """Every run between the domains with its command, seed, steps, time, hardware and the first digits of its weights' SHA-256."""
    lines = ["| command | % | steps | minutes | hardware | weights |", "|---|---|---|---|---|---|"]
    for card in runs_of(results, "dann", "adda", of=of):
        lines.append(f"| `{card['command']}` | {accuracy(card):.2f} | {card['steps']} | {card['seconds'] / 60:.1f} | "
                     f"{card['hardware']}, {card['options']['precision']} | {hash_of(card)} |")
    return "\n".join(lines)


def hash_of(card: dict[str, Any]) -> str:
    """The first digits of the weights' SHA-256; a dash where only the card was kept."""
    return f"`{card['weights'][:8]}`" if card["weights"] else "–"


def effort(card: dict[str, Any]) -> str:
    """What a run took."""
    return f"{card['steps']}, {card['seconds'] / 60:.0f}; {card['hardware']}"


def faces_table(results: dict[str, Any]) -> str:
    """Every measured generator, and under them what real faces reach in the same protocol."""
    lines = ["| | FD(attributes) | KD x1000 | precision | recall | HOG detector, % | pairs flipped, % | edit ratio | "
             "steps, minutes | weights |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    found = runs_of(results, "gan", "acgan")
    for card in found:
        metrics, pairs = card["metrics"], card["metrics"].get("pairs")
        low, high = pairs["flipped, 95 %"] if pairs else (0, 0)
        lines.append(f"| `{card['command']}` | {distances_cells(metrics['attributes'])} | {share(metrics.get('detected'))} | "
                     + (f"{pairs['flipped']:.1f} ({low:.1f} to {high:.1f}) | {pairs['edit ratio']:.2f}" if pairs else "– | –")
                     + f" | {effort(card)} | {hash_of(card)} |")
    for card in found[:1]:
        metrics = card["metrics"]
        lines.append(f"| training faces against test faces, the floor | {distances_cells(metrics['attributes, real'])} | "
                     f"{share(metrics.get('detected, real'))} | – | – | – | – |")
    return "\n".join(lines)


def ablation_table(results: dict[str, Any]) -> str:
    """What is lost with each part of ADDA and self-training, in both directions, on a short schedule."""
    found = {Path(card["card"]).stem: card for card in results["ablation"]}
    lines = ["| accuracy on the target's test split, % | MNIST-M → SVHN hold-out | SVHN → MNIST-M |", "|---|---|---|"]
    for what, title in ABLATION:
        runs = [found.get(f"{what}-{source}-{target}") for source, target in DIRECTIONS]
        lines.append(f"| {title} | " + " | ".join(f"{accuracy(run):.1f}" if run else "not measured yet" for run in runs) + " |")
    return "\n".join(lines)


def deviations_table(results: dict[str, Any]) -> str:
    """DCGANs that differ in how large their first weights are."""
    lines = ["| first weights' standard deviation | command | FD(attributes) | recall | HOG detector, % | steps, minutes |",
             "|---|---|---|---|---|---|"]
    for card in sorted(runs_of(results, "gan", of="ablation"), key=lambda card: card["options"]["deviation"]):
        values = card["metrics"]["attributes"]
        lines.append(f"| {card['options']['deviation']:g} | `{card['command']}` | {values['FD']:.2f} | {values['recall']:.2f} | "
                     f"{share(card['metrics'].get('detected'))} | {effort(card)} |")
    return "\n".join(lines)


def pilots_table(pilot: dict[str, Any]) -> str:
    """Runs of which only the numbers were kept."""
    rows = [pilot["columns"], ["---"] * len(pilot["columns"]), *pilot["rows"]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def share(percent: float | None) -> str:
    """A percentage, or a dash where it was not measured (dlib was not installed)."""
    return "–" if percent is None else f"{percent:.1f}"


def distances_cells(distances: dict[str, float]) -> str:
    return f"{distances['FD']:.2f} | {distances['KD x1000']:.2f} | {distances['precision']:.2f} | {distances['recall']:.2f}"


def per_class_table(results: dict[str, Any]) -> str:
    """Accuracy of each digit, a row for each released network."""
    lines = ["| % of a digit's images | all | " + " | ".join(map(str, range(10))) + " |", "|---" * 12 + "|"]
    for figures in results["measured"].values():
        shares = ["–" if share is None else f"{share:.1f}" for share in figures["per_class"]]
        lines.append(f"| {figures['title']} | {figures['accuracy']:.2f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def classes_table(results: dict[str, Any]) -> str:
    """What the class loss makes of each class, for every ACGAN that was measured so."""
    lines = ["| | FD(attributes) to test faces of the class | recall | faces the judge is undecided about, % | real ones, % |",
             "|---|---|---|---|---|"]
    for run in runs_of(results, "acgan"):
        for name, values in run["metrics"].get("classes", {}).items():
            lines.append(f"| {run['options']['attribute']}, {name} | {values['FD']:.2f} | {values['recall']:.2f} | "
                         f"{values['undecided']:.1f} | {values['undecided, real']:.1f} |")
    return "\n".join(lines)
