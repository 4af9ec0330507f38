"""Accuracy of a prediction file: `python -m scripts.score PRED.csv TRUTH.csv`.

The figure is the one of the course's scorer, which however passes over missing rows (two right rows of ten thousand are its
100 %); here missing, extra and double rows are an error that lists them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from common.cli import InputError, Parser, run_main


def read(path: Path) -> dict[str, int]:
    """image_name → label. InputError where a row is double or no number, or where there is no row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path} cannot be read as CSV ({getattr(problem, 'strerror', None) or problem})") from None
    if [column.strip() for column in header] != ["image_name", "label"]:
        raise InputError(f"{path} does not begin with the line image_name,label; is it a prediction file?")
    if not rows:
        raise InputError(f"{path} holds no row")
    labels: dict[str, int] = {}
    double = []
    for row in rows:
        try:
            name, label = row[0], float(row[1])
        except (IndexError, ValueError):
            raise InputError(f"{path}: the row {','.join(row)!r} is not a name and a number") from None
        double += [name] if name in labels else []
        labels[name] = int(label) if label == int(label) else -1
    if double:
        raise InputError(f"{path}: {listed(double, 'double')}")
    return labels


def listed(names: list[str], what: str) -> str:
    """`3 rows missing: a.png, b.png, c.png`, ten names at most."""
    return f"{len(names)} rows {what}: {', '.join(sorted(names)[:10])}{', …' if len(names) > 10 else ''}"


def main() -> None:
    parser = Parser(prog="python -m scripts.score", description=__doc__)
    parser.add_argument("prediction", type=Path, metavar="PRED.csv", help="what hw3_p3.sh or hw3_p4.sh wrote")
    parser.add_argument("truth", type=Path, metavar="TRUTH.csv", help="the true labels, in the same form")
    args = parser.parse_args()
    predicted, true = read(args.prediction), read(args.truth)
    wrong = [listed(names, what) for what, names in (("missing", list(true.keys() - predicted.keys())),
                                                     ("extra", list(predicted.keys() - true.keys()))) if names]
    if wrong:
        raise InputError(f"{args.prediction} does not match {args.truth}: {'; '.join(wrong)}")
    right = sum(predicted[name] == label for name, label in true.items())
    print(f"Accuracy: {right}/{len(true)} ({100 * right / len(true):.2f}%)")


if __name__ == "__main__":
    run_main(main)
