"""Accuracy of a prediction file: `python -m scripts.score PRED.csv TRUTH.csv`.

The figure is the one of the course's scorer, which however passes over missing rows (two right rows of ten thousand are its
100 %); here missing, extra and double rows are an error that lists them, and so is a label that is not a digit.
"""

from __future__ import annotations

from pathlib import Path

from common.cli import InputError, Parser, run_main
from common.tables import digit, read_rows


def read(path: Path) -> dict[str, int]:
    """image_name → label. InputError where a row is double or no name and digit, or where there is no row."""
    header, *rows = read_rows(path) or [[]]
    if [column.strip() for column in header if column.strip()] != ["image_name", "label"]:
        raise InputError(f"{path} does not begin with the line image_name,label; is it a prediction file?")
    if not rows:
        raise InputError(f"{path} holds no row")
    labels: dict[str, int] = {}
    double = []
    for name, *values in rows:
        label = digit(values[0]) if values and not "".join(values[1:]).strip() else None
        if label is None:
            raise InputError(f"{path}: the row {','.join([name, *values])!r} is not a name and a digit from 0 to 9")
        double += [name] if name in labels else []
        labels[name] = label
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
