"""Accuracy of a prediction file: `python -m scripts.score PRED.csv TRUTH.csv`.

For complete files, the accuracy is that of the course's scorer. But the latter ignores missing rows (with 2
correct rows of 10,000, it reports 100 %); here, missing, extra and duplicate rows, and labels that are not
digits, are errors.
"""

from __future__ import annotations

from pathlib import Path

from common.cli import InputError, Parser, run_main
from common.tables import digit, read_rows


def read(path: Path) -> dict[str, int]:
    """image_name → label. Raises InputError for an invalid or duplicate row, or if there are no rows."""
    header, *rows = read_rows(path) or [[]]
    if [column.strip() for column in header if column.strip()] != ["image_name", "label"]:
        raise InputError(f"{path} does not begin with the line image_name,label; is it a prediction file?")
    if not rows:
        raise InputError(f"{path} contains no rows")
    labels: dict[str, int] = {}
    duplicates = []
    for name, *values in rows:
        label = digit(values[0]) if values and not "".join(values[1:]).strip() else None
        if label is None:
            raise InputError(f"{path}: the row {','.join([name, *values])!r} is not a name and a digit "
                             "from 0 to 9")
        duplicates += [name] if name in labels else []
        labels[name] = label
    if duplicates:
        raise InputError(f"{path}: {listed(duplicates, 'duplicate')}")
    return labels


def listed(names: list[str], what: str) -> str:
    """`3 rows missing: a.png, b.png, c.png`, with at most ten names."""
    return f"{len(names)} rows {what}: {', '.join(sorted(names)[:10])}{', …' if len(names) > 10 else ''}"


def main() -> None:
    parser = Parser(prog="python -m scripts.score", description=__doc__)
    parser.add_argument("prediction", type=Path, metavar="PRED.csv",
                        help="predictions written by hw3_p3.sh or hw3_p4.sh")
    parser.add_argument("truth", type=Path, metavar="TRUTH.csv", help="true labels, in the same format")
    args = parser.parse_args()
    predicted, true = read(args.prediction), read(args.truth)
    wrong = [listed(names, what)
             for what, names in (("missing", list(true.keys() - predicted.keys())),
                                 ("extra", list(predicted.keys() - true.keys()))) if names]
    if wrong:
        raise InputError(f"{args.prediction} does not match {args.truth}: {'; '.join(wrong)}")
    correct = sum(predicted[name] == label for name, label in true.items())
    print(f"Accuracy: {correct}/{len(true)} ({100 * correct / len(true):.2f}%)")


if __name__ == "__main__":
    run_main(main)
