"""The tables of README.md and of the report, made from the results of `report_numbers.gather`."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from common.domains import TITLES
from scripts.report_numbers import DIRECTIONS, earlier, measurement

RELEASED = ("dann", "adda+st")
AGAIN = "to be trained again"
EARLIER = ("Rows \"to be trained again\": an earlier MNIST-M of this repository kept the grey levels of the "
           "digits, whereas the published set binarises them before blending. Results of networks trained on "
           "it are left out.")
DAGGER = ("† These released weights were trained on the earlier MNIST-M, with an earlier recipe. They are "
          "evaluated on the correct set, and will be replaced.")
ROWS = (("source-only", "default", "source only: no target image touched"),
        ("source-only", "adabn", "the same, then AdaBN"),
        ("dann", "default", "**DANN**, the weights of `hw3_p3.sh`"),
        ("dann", "seeds", "DANN, mean ± standard deviation"),
        ("adda", "default", "ADDA, our network"),
        ("adda+st", "default", "**ADDA + self-training**, the weights of `hw3_p4.sh`"),
        ("adda+st", "seeds", "ADDA + self-training, mean ± standard deviation"),
        ("target-only", "default", "target only, the upper bound"))

# the methods that see the target, and the criteria that need no label of it
ADAPTED = ("dann", "adda", "adda+st")
CRITERIA = {"nuclear norm": "nuclear norm of the predictions", "confident": "share of confident predictions",
            "entropy": "low entropy of the predictions", "agreement": "agreement with the other runs"}

SUMMARY = (("source-only", "source only: no target image"), ("dann", "**DANN**"), ("adda", "ADDA"),
           ("adda+st", "**ADDA + self-training**"),
           ("target-only", "trained with the target's labels, the upper bound"))

# the original report's recipe (`--preset report`), row by row
REPORT_ROWS = (("source-only", "report", "source only"),
               ("dann", "report", "DANN"),
               ("adda", "report", "ADDA"),
               ("adda", "joint", "ADDA, both domains in one batch of the discriminator"),
               ("target-only", "report", "target only, the network of problem 4"),
               ("target-only", "DANN's network", "target only, the network of DANN"))


# names of the cards in adda/results/ablation/, and titles of their rows
ABLATION = (("source", "source only"), ("whole", "**all stages**"),
            ("one-student", "the same with one student"), ("no-adversary", "the same without the adversary"),
            ("no-self-training", "the same without self-training"))


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The report's tables by their names in scripts/report.md. `results`: from `gather` and `measured`."""
    return {"results": results_table(results), "report's recipe": report_recipe_table(results),
            "runs": runs_table(results), "ablation runs": runs_table(results, "ablation"),
            "ablation": ablation_table(results), "deviations": deviations_table(results),
            "faces": faces_table(results), "classes": classes_table(results),
            "per class": per_class_table(results), "criteria": criteria_table(results),
            **{f"pilots: {name}": pilots_table(pilot) for name, pilot in results["pilots"].items()}}


def runs_of(results: dict[str, Any], *packages: str, of: str = "runs") -> list[dict[str, Any]]:
    """The runs of these packages; `of` may also be "ablation"."""
    return [run for run in results[of] if run["card"].startswith(packages)]


def accuracy(card: dict[str, Any], adabn: bool = False) -> float:
    """Accuracy in percent on the test images of the target."""
    return card["metrics"][measurement(card, adabn)]["accuracy"]


def cell(found: list[dict[str, Any]], kind: str) -> str:
    """One cell of the table: the accuracy, formatted by kind and method."""
    found = [card for card in found if card["metrics"].get(measurement(card, kind == "adabn"))]
    if len(found) < (2 if kind == "seeds" else 1):
        return AGAIN
    if kind == "seeds":
        values = [accuracy(card) for card in found]
        return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} ({len(values)} seeds)"
    first = min(found, key=lambda card: card["seed"])
    text = f"{accuracy(first, kind == 'adabn'):.2f}"
    return f"**{text}**{dagger(first)}" if first["options"]["method"] in RELEASED else text


def oracle(card: dict[str, Any]) -> float:
    """The best accuracy among the checkpoints of a run, selected by the test labels of the target."""
    return max([accuracy(card), *kept(card)])


def kept(card: dict[str, Any]) -> list[float]:
    """The accuracies of the intermediate checkpoints of a run."""
    found = card["metrics"][measurement(card)].get("after steps", {})
    return [value for value in found.values() if isinstance(value, int | float)]


def dagger(card: dict[str, Any]) -> str:
    """The mark of weights trained on the earlier MNIST-M."""
    return " †" if earlier(card) else ""


def notes(lines: list[str]) -> list[str]:
    """What the words and marks in the lines of a table mean, as lines below it."""
    text = "".join(lines)
    meanings = [meaning for mark, meaning in ((AGAIN, EARLIER), ("†", DAGGER)) if mark in text]
    return ["", textwrap.fill(" ".join(meanings), 120)] if meanings else []


def results_table(results: dict[str, Any]) -> str:
    """All methods' accuracies in both directions, with those of the original report and the best peers."""
    every = runs_of(results, "dann", "adda")
    lines = ["| accuracy on the target's test split, % | MNIST-M → SVHN hold-out (6,999) | "
             "SVHN → MNIST-M (10,000) | the original report's | best of 30 reports |",
             "|---|---|---|---|---|"]
    for method, kind, title in ROWS:
        cells = [cell(runs, kind) for runs in by_direction(every, method, "default")]
        others = [results[whose].get(method) for whose in ("original report", "best of the peers")]
        shown = ["–" if pair is None or kind in ("seeds", "adabn") else f"{pair[0]:g}, {pair[1]:g}"
                 for pair in others]
        lines.append(f"| {title} | {' | '.join(cells + shown)} |")
    return "\n".join(lines + notes(lines))


def summary_table(results: dict[str, Any]) -> str:
    """README.md's table: per method, released weights and mean over seeds; and the original's networks."""
    every = runs_of(results, "dann", "adda")
    lines = ["| accuracy on the target's test digits, % | MNIST-M → SVHN | SVHN → MNIST-M |", "|---|---|---|"]
    for method, title in SUMMARY:
        cells = []
        for runs in by_direction(every, method, "default"):
            entries = [cell(runs, kind)
                       for kind in (("default", "seeds") if method in RELEASED else ("default",))]
            cells.append("; ".join(entry for entry in entries if entry != AGAIN) or AGAIN)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for method, title in (("dann", "the original's DANN"), ("adda", "the original's ADDA")):
        shown = " | ".join(f"{accuracy:g}" for accuracy in results["original networks"][method])
        lines.append(f"| {title}, its own weights on these digits | {shown} |")
    return "\n".join(lines + notes(lines))


def report_recipe_table(results: dict[str, Any]) -> str:
    """The recipe of the original report, trained here: accuracy after the last step, oracle accuracy (in its
    own column), and the accuracy in the original report."""
    every = runs_of(results, "dann", "adda")
    lines = ["| the original's recipe | MNIST-M → SVHN: last step | oracle | the original's | "
             "SVHN → MNIST-M: last step | oracle | the original's |", "|---|---|---|---|---|---|---|"]
    for method, kind, title in REPORT_ROWS:
        originals = results["original report"][method] if kind == "report" else (None, None)
        entries = [entry for found, original in zip(by_direction(every, method, kind), originals, strict=True)
                   for entry in (*last_and_oracle(found), f"{original:g}" if original else "–")]
        lines.append(f"| {title} | {' | '.join(entries)} |")
    return "\n".join(lines)


def last_and_oracle(found: list[dict[str, Any]]) -> tuple[str, str]:
    """Two cells of the table: accuracy after the last step and of the oracle; means if several seeds."""
    found = [card for card in found if card["metrics"].get(measurement(card))]
    if not found:
        return AGAIN, AGAIN
    last, best = [accuracy(card) for card in found], [oracle(card) for card in found]
    if len(found) == 1:
        return f"{last[0]:.2f}", f"{best[0]:.2f}" if kept(found[0]) else "–"
    return (f"{statistics.mean(last):.1f} ± {statistics.stdev(last):.1f} ({len(last)} seeds)",
            f"{statistics.mean(best):.1f}")


def by_direction(every: list[dict[str, Any]], method: str, kind: str) -> list[list[dict[str, Any]]]:
    """The runs of a method and a kind (see `kind_of`) in either direction."""
    return [[card for card in every if kind_of(card) == kind
             and [card["options"][name] for name in ("method", "source", "target")]
             == [method, source, target]]
            for source, target in DIRECTIONS]


def kind_of(card: dict[str, Any]) -> str:
    """default, report, joint (as report, but both domains in one discriminator batch) or DANN's network."""
    if card["options"]["preset"] != "report":
        return "default"
    if card["options"]["method"] == "target-only" and card["program"] == "dann.train":
        return "DANN's network"  # target only in the original report uses the network of ADDA
    return "joint" if card["options"].get("joint") else "report"


def runs_table(results: dict[str, Any], of: str = "runs") -> str:
    """All domain adaptation runs: command, accuracy, steps, time, hardware, start of the weights' SHA-256."""
    found = runs_of(results, "dann", "adda", of=of)
    if not found:
        return f"({AGAIN.capitalize()}.)"
    lines = ["| command | % | steps | minutes | hardware | weights |", "|---|---|---|---|---|---|"]
    for card in found:
        lines.append(f"| `{card['command']}`{dagger(card)} | {accuracy(card):.2f} | {card['steps']} | "
                     f"{card['seconds'] / 60:.1f} | {card['hardware']}, {card['options']['precision']} | "
                     f"{hash_of(card)} |")
    return "\n".join(lines)


def hash_of(card: dict[str, Any]) -> str:
    """The first digits of the weights' SHA-256, or a dash if only the card was kept."""
    return f"`{card['weights'][:8]}`" if card["weights"] else "–"


def effort(card: dict[str, Any]) -> str:
    """Steps, minutes and hardware of a run."""
    return f"{card['steps']}, {card['seconds'] / 60:.0f}; {card['hardware']}"


def faces_table(results: dict[str, Any]) -> str:
    """All evaluated generators, and the floor: real faces in the same protocol."""
    lines = ["| | FD(attributes) | KD x1000 | precision | recall | HOG detector, % | pairs flipped, % | "
             "edit ratio | steps, minutes | weights |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    found = runs_of(results, "gan", "acgan")
    for card in found:
        metrics, pairs = card["metrics"], card["metrics"].get("pairs")
        low, high = pairs["flipped, 95 %"] if pairs else (0, 0)
        lines.append(f"| `{card['command']}` | {distances_cells(metrics['attributes'])} | "
                     f"{share(metrics.get('detected'))} | "
                     + (f"{pairs['flipped']:.1f} ({low:.1f} to {high:.1f}) | {pairs['edit ratio']:.2f}"
                        if pairs else "– | –")
                     + f" | {effort(card)} | {hash_of(card)} |")
    for card in found[:1]:
        metrics = card["metrics"]
        lines.append("| training faces against test faces, the floor | "
                     f"{distances_cells(metrics['attributes, real'])} | "
                     f"{share(metrics.get('detected, real'))} | – | – | – | – |")
    return "\n".join(lines)


def ablation_table(results: dict[str, Any]) -> str:
    """Ablation of ADDA and self-training, in both directions, on a short schedule."""
    found = {Path(card["card"]).stem: card for card in results["ablation"]}
    if not runs_of(results, "adda", of="ablation"):
        return f"({AGAIN.capitalize()}.)"
    lines = ["| accuracy on the target's test split, % | MNIST-M → SVHN hold-out | SVHN → MNIST-M |",
             "|---|---|---|"]
    for what, title in ABLATION:
        runs = [found.get(f"{what}-{source}-{target}") for source, target in DIRECTIONS]
        lines.append(f"| {title} | "
                     + " | ".join(f"{accuracy(run):.1f}" if run else AGAIN for run in runs) + " |")
    return "\n".join(lines)


def criteria_table(results: dict[str, Any]) -> str:
    """How well criteria without any label rank the runs of our network that adapt to a target, and what they
    would have chosen."""
    columns = [f"{TITLES[source]} → {TITLES[target]}: ρ | its choice, % | best run, %"
               for source, target in DIRECTIONS]
    lines = [f"| criterion | {' | '.join(columns)} |", "|---|" + "---|" * 6]
    groups = [[card for card in (*runs_of(results, "dann", "adda"),
                                 *runs_of(results, "dann", "adda", of="ablation"))
               if (card["options"]["source"], card["options"]["target"]) == direction
               and card["options"]["method"] in ADAPTED and kind_of(card) == "default"
               and "criteria" in card["metrics"][measurement(card)]] for direction in DIRECTIONS]
    if min(map(len, groups)) < 4:
        return f"({AGAIN.capitalize()}.)"
    for name, sign in (("nuclear norm", 1), ("confident", 1), ("entropy", -1), ("agreement", 1)):
        cells = []
        for cards in groups:
            values = [sign * value for value in criterion(cards, name)]
            accuracies = [accuracy(card) for card in cards]
            rho = spearmanr(values, accuracies).statistic
            cells += [f"{rho:.2f} ({len(cards)} runs)", f"{accuracies[values.index(max(values))]:.1f}",
                      f"{max(accuracies):.1f}"]
        lines.append(f"| {CRITERIA[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def criterion(cards: list[dict[str, Any]], name: str) -> list[float]:
    """Its value for each run. Agreement: the mean share of images on which the run names the class that
    another run names."""
    found = [card["metrics"][measurement(card)]["criteria"] for card in cards]
    if name != "agreement":
        return [values[name] for values in found]
    predictions = [values["predictions"].split() for values in found]
    return [statistics.mean(statistics.mean(map(str.__eq__, mine, other))
                            for other in predictions if other is not mine)
            for mine in predictions]


def deviations_table(results: dict[str, Any]) -> str:
    """DCGANs with different standard deviations of the initial weights."""
    lines = ["| first weights' standard deviation | command | FD(attributes) | recall | HOG detector, % | "
             "steps, minutes |",
             "|---|---|---|---|---|---|"]
    found = [card for card in runs_of(results, "gan", of="ablation")
             if card["options"].get("deviation") is not None]
    for card in sorted(found, key=lambda card: card["options"]["deviation"]):
        values = card["metrics"]["attributes"]
        lines.append(f"| {card['options']['deviation']:g} | `{card['command']}` | {values['FD']:.2f} | "
                     f"{values['recall']:.2f} | {share(card['metrics'].get('detected'))} | {effort(card)} |")
    return "\n".join(lines)


def pilots_table(pilot: dict[str, Any]) -> str:
    """A table of runs of which only the numbers were kept."""
    rows = [pilot["columns"], ["---"] * len(pilot["columns"]), *pilot["rows"]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def share(percent: float | None) -> str:
    """A percentage, or a dash if it was not measured (because dlib was not installed)."""
    return "–" if percent is None else f"{percent:.1f}"


def distances_cells(distances: dict[str, float]) -> str:
    return (f"{distances['FD']:.2f} | {distances['KD x1000']:.2f} | {distances['precision']:.2f} | "
            f"{distances['recall']:.2f}")


def per_class_table(results: dict[str, Any]) -> str:
    """Accuracy per digit, one row per released network."""
    lines = ["| % of a digit's images | all | " + " | ".join(map(str, range(10))) + " |", "|---" * 12 + "|"]
    for figures in results["measured"].values():
        shares = ["–" if share is None else f"{share:.1f}" for share in figures["per_class"]]
        lines.append(f"| {figures['title']} | {figures['accuracy']:.2f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def classes_table(results: dict[str, Any]) -> str:
    """Metrics per class, for each ACGAN for which they were measured."""
    lines = ["| | FD(attributes) to test faces of the class | recall | "
             "faces the judge is undecided about, % | real ones, % |",
             "|---|---|---|---|---|"]
    for run in runs_of(results, "acgan"):
        for name, values in (run["metrics"].get("classes") or {}).items():
            lines.append(f"| {run['options']['attribute']}, {name} | {values['FD']:.2f} | "
                         f"{values['recall']:.2f} | {values['undecided']:.1f} | "
                         f"{values['undecided, real']:.1f} |")
    return "\n".join(lines)
