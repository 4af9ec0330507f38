"""The README's tables, made from the cards: `python -m scripts.report` prints them, `--write` puts them into README.md.

A card is the JSON beside released weights (gan/weights/ and likewise) or of another run that was measured (gan/results/).
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from common.cli import InputError, Parser, run_main
from common.files import write_atomically

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- made by scripts.report from the cards: do not edit -->", "<!-- end -->"
DIRECTIONS = (("mnistm", "svhn"), ("svhn", "mnistm"))
# accuracies of the original report, in the order of DIRECTIONS; it has no self-training
ORIGINAL = {"source-only": (26.52, 42.01), "dann": (46.40, 45.21), "adda": (61.27, 56.03), "target-only": (90.0, 91.0)}
RELEASED = ("dann", "adda+st")
ROWS = (("source-only", "default", "source only: no target image touched"), ("source-only", "adabn", "the same, then AdaBN"),
        ("dann", "default", "**DANN**, the weights of `hw3_p3.sh`"), ("dann", "seeds", "DANN, mean ± standard deviation"),
        ("adda", "default", "ADDA, our network"), ("adda+st", "default", "**ADDA + self-training**, the weights of `hw3_p4.sh`"),
        ("adda+st", "seeds", "ADDA + self-training, mean ± standard deviation"),
        ("target-only", "default", "target only, the upper bound"),
        ("source-only", "report", "report's recipe, source only"), ("dann", "report", "report's recipe, DANN"),
        ("adda", "report", "report's recipe, ADDA"),
        ("target-only", "report", "report's recipe, target only"))


def cards(*packages: str) -> list[dict[str, Any]]:
    """All cards of these packages, by name."""
    folders = [ROOT / package / kind for package in packages for kind in ("weights", "results")]
    return [json.loads(path.read_text()) for folder in folders for path in sorted(folder.glob("*.json"))]


def accuracy(card: dict[str, Any], adabn: bool = False) -> float:
    """Percent of the target's test images."""
    return card["metrics"][f"{card['options']['target']} test{', AdaBN' if adabn else ''}"]["accuracy"]


def cell(found: list[dict[str, Any]], kind: str, original: float) -> str:
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
        return f"{text} (report: {original:g}; {first['options']['epochs']} epochs)"
    return f"**{text}**" if first["options"]["method"] in RELEASED else text


def results_table() -> str:
    """Accuracies of every method in both directions."""
    every = cards("dann", "adda")
    lines = ["| accuracy on the target's test split, % | MNIST-M → SVHN hold-out (6,999) | SVHN → MNIST-M (10,000) |",
             "|---|---|---|"]
    for method, kind, title in ROWS:
        cells = []
        for place, (source, target) in enumerate(DIRECTIONS):
            found = [card for card in every if (card["options"]["preset"] == "report") == (kind == "report")
                     and [card["options"][name] for name in ("method", "source", "target")] == [method, source, target]]
            cells.append(cell(found, kind, ORIGINAL.get(method, (0.0, 0.0))[place]))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def runs_table() -> str:
    """Every measured run with its command, seed, steps, time and hardware."""
    lines = ["| command | % | steps | minutes | hardware |", "|---|---|---|---|---|"]
    for card in cards("dann", "adda"):
        lines.append(f"| `{card['command']}` | {accuracy(card):.2f} | {card['steps']} | {card['seconds'] / 60:.1f} | "
                     f"{card['hardware']}, {card['options']['precision']} |")
    return "\n".join(lines)


def faces_table() -> str:
    """Every measured generator, and under them what real faces reach in the same protocol."""
    lines = ["| | FD(attributes) | KD x1000 | precision | recall | HOG detector, % | pairs flipped, % | edit ratio | "
             "steps, minutes |",
             "|---|---|---|---|---|---|---|---|---|"]
    found = cards("gan", "acgan")
    for card in found:
        metrics, pairs = card["metrics"], card["metrics"].get("pairs")
        low, high = pairs["flipped, 95 %"] if pairs else (0, 0)
        lines.append(f"| `{card['command']}` | {distances_cells(metrics['attributes'])} | {share(metrics.get('detected'))} | "
                     + (f"{pairs['flipped']:.1f} ({low:.1f} to {high:.1f}) | {pairs['edit ratio']:.2f}" if pairs else "– | –")
                     + f" | {card['steps']}, {card['seconds'] / 60:.0f}; {card['hardware']} |")
    for card in found[:1]:
        metrics = card["metrics"]
        lines.append(f"| training faces against test faces, the floor | {distances_cells(metrics['attributes, real'])} | "
                     f"{share(metrics.get('detected, real'))} | – | – | – |")
    return "\n".join(lines)


def share(percent: float | None) -> str:
    """A percentage, or a dash where it was not measured (dlib was not installed)."""
    return "–" if percent is None else f"{percent:.1f}"


def distances_cells(distances: dict[str, float]) -> str:
    return f"{distances['FD']:.2f} | {distances['KD x1000']:.2f} | {distances['precision']:.2f} | {distances['recall']:.2f}"


def with_tables(text: str) -> str:
    """The README's text with the tables of today between its two markers."""
    if BEGIN not in text or END not in text:
        raise InputError(f"README.md lacks the marks {BEGIN} and {END}; put them where the tables belong")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{results_table()}\n\n<details><summary>Every run behind the table</summary>\n\n{runs_table()}\n\n" \
           f"</details>\n\n{faces_table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = Parser(prog="python -m scripts.report", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    args = parser.parse_args()
    if args.write:
        readme = ROOT / "README.md"
        write_atomically(readme, with_tables(readme.read_text()))
    else:
        print(f"{results_table()}\n\n{runs_table()}\n\n{faces_table()}")


if __name__ == "__main__":
    run_main(main)
