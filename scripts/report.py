"""Create all figures and tables of the report from released weights:
`python -m scripts.report --data hw3_data`.

The output in report/ consists of the figures of faces, loss curves, t-SNE, confusion matrices, misclassified
digits, prediction files, results.json with all numbers, and the pages report.md and notebook.md (with
`--html` and `--pdf`, also as self-contained files). If a part cannot be created, the others are still
created, and an error names it at the end. All requested parts are created anew; `scripts/results.sh` requests
only those older than their weights or data. `--runs FOLDER` uses the networks of the run folders of
scripts/results.sh instead of the released ones (tables of complete runs still come from the cards). `--write`
updates the tables and numbers in README.md, and needs no data.

The templates are scripts/report.md and scripts/notebook.md, in which {a name in braces} stands for a number
(see `scripts/report_numbers.py` for the names) and <!-- table: a name --> for a table.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import mimetypes
import re
from pathlib import Path
from typing import Any

from common.cli import InputError, Parser, run_main
from common.device import choose_device
from common.files import check_writable, make_folder, read_bytes, read_text, write
from scripts import architecture, report_numbers, report_tables
from scripts.report_numbers import MISSING, ROOT
from scripts.report_parts import Part, parts

PAGES = ("report", "notebook")
TEXT = "text"  # the part that is made from all others: results.json and the pages
BEGIN, END = "<!-- made by scripts.report from the cards: do not edit -->", "<!-- end -->"


def main() -> None:
    parser = Parser(prog="python -m scripts.report", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="data folder created by scripts.prepare_data")
    parser.add_argument("--output", type=Path, default=ROOT / "report", help="output folder")
    parser.add_argument("--runs", type=Path, metavar="FOLDER",
                        help="folder that contains the run folders of scripts/results.sh "
                        "(default: released weights)")
    parser.add_argument("--only", metavar="NAME",
                        help="create only parts whose names start with NAME: faces, losses, tsne, "
                        "digits, text (the pages and results.json)")
    parser.add_argument("--html", action="store_true",
                        help="also write report.html and notebook.html, with embedded pictures")
    parser.add_argument("--pdf", action="store_true",
                        help="also write report.pdf and notebook.pdf (needs WeasyPrint)")
    parser.add_argument("--write", action="store_true", help="only update the numbers in README.md")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    if args.write:
        write_readme(ROOT / "README.md")
        return
    if args.runs and not args.runs.is_dir():
        raise InputError(f"{args.runs} is not a folder; --runs takes the folder that contains "
                         "the run folders of scripts/results.sh")
    every = parts(args.output, args.runs, args.data, choose_device(args.device))
    only = args.only or ""
    wanted = [part for part in every if part.name.startswith(only)]
    if not wanted and not TEXT.startswith(only):
        raise InputError(f"no part starts with {only!r}; the parts are "
                         f"{', '.join([part.name for part in every] + [TEXT])}")
    if args.pdf and importlib.util.find_spec("weasyprint") is None:
        raise InputError("--pdf needs WeasyPrint: pip install weasyprint")
    make_folder(args.output)
    check_writable(args.output / "report.md")
    problems = build(wanted)
    if TEXT.startswith(only):
        problems += write_report(args.output, args.html, args.pdf)
    if problems:
        raise InputError("; ".join(dict.fromkeys(problems)))


def build(wanted: list[Part]) -> list[str]:
    """Create the parts. Returns a message for each that could not be created."""
    problems: list[str] = []
    for place, part in enumerate(wanted, 1):
        print(f"{place}/{len(wanted)} {part.name}", flush=True)
        try:
            part.make()
        except (InputError, OSError) as problem:
            problems.append(f"{part.name} could not be created ({problem})")
    return problems


def write_report(output: Path, html: bool = False, pdf: bool = False) -> list[str]:
    """Write results.json and the pages from the content of the folder, optionally also as HTML and PDF.
    Returns a message for each file that could not be read or written."""
    results, problems = report_numbers.gather()
    results["measured"] = report_numbers.measured(output / "measured", problems)
    results["networks"] = architecture.networks()
    try:
        unknown = []
        write(output / "results.json", json.dumps(results, indent=1) + "\n")
        for name in PAGES:
            text, problems_here = report_text(read_text(ROOT / f"scripts/{name}.md"), results)
            unknown += problems_here
            write(output / f"{name}.md", text)
            if html:
                write(output / f"{name}.html", page(text, output))
            if pdf:
                write(output / f"{name}.pdf", printed(page(text, output)))
        print(output / "report.md")
    except InputError as problem:
        return [*problems, str(problem)]
    return problems or unknown  # a damaged card explains the names that are unknown


def report_text(template: str, results: dict[str, Any]) -> tuple[str, list[str]]:
    """The template with numbers and tables filled in, and a message for each unknown name."""
    problems: list[str] = []
    networks = architecture.tables(results["networks"])
    tables = {"networks": "\n\n".join(networks.values()),
              **{f"network: {title}": table for title, table in networks.items()},
              **report_tables.tables(results)}

    def table(found: re.Match[str]) -> str:
        if found[1] not in tables:
            problems.append(f"the text names the table {found[1]!r}, which does not exist")
        return tables.get(found[1], MISSING)

    text = report_numbers.fill(template, report_numbers.names(results), problems)
    return re.sub(r"<!-- table: (.+?) -->", table, text), problems


def page(text: str, folder: Path) -> str:
    """Markdown → HTML page with embedded pictures."""
    import markdown

    def embed(found: re.Match[str]) -> str:
        path = folder / found[1]
        if not path.is_file():
            return found[0]
        return (f'src="data:{mimetypes.guess_type(path)[0]};base64,'
                f'{base64.b64encode(read_bytes(path)).decode()}"')

    body = re.sub(r'src="([^"]+)"', embed, markdown.markdown(text, extensions=["tables", "toc"]))
    style = ("body{max-width:60em;margin:2em auto;font-family:sans-serif}"
             "td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:left}"
             "table{border-collapse:collapse;font-size:85%;margin:1em 0}"
             "img{max-width:100%}@page{size:A4;margin:16mm}"
             "@media print{body{font-size:9pt;margin:0}table{font-size:6.5pt}td,th{padding:.15em .35em}"
             "code{overflow-wrap:anywhere}td img{max-width:75mm}h1,h2{break-after:avoid}"
             "img,tr{break-inside:avoid}}")
    return ('<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>'
            f"<style>{style}</style>{body}</html>\n")


def printed(html: str) -> bytes:
    """HTML page → PDF, on A4."""
    import weasyprint

    # no warnings about pictures that are not published
    logging.getLogger("weasyprint").setLevel(logging.CRITICAL)
    return weasyprint.HTML(string=html).write_pdf(presentational_hints=True)  # for the widths of pictures


def write_readme(path: Path) -> None:
    """Update README.md. Raises InputError, without writing, if a card is damaged or a name unknown."""
    results, problems = report_numbers.gather()
    results["networks"] = architecture.networks()
    text, unknown = readme_text(read_text(path), results)
    if problems or unknown:
        raise InputError(f"{path} was not changed: " + "; ".join(problems or unknown))
    write(path, text)


def readme_text(text: str, results: dict[str, Any]) -> tuple[str, list[str]]:
    """README.md with the summary table between its two markers and the numbers before the names in its text
    updated, and a message for each unknown name."""
    if text.count(BEGIN) != 1 or END not in text.partition(BEGIN)[2]:
        raise InputError(f"README.md lacks the markers {BEGIN} and {END}; insert them around the table")
    before, _, rest = text.partition(BEGIN)
    tables = report_tables.summary_table(results)
    problems: list[str] = []
    known = report_numbers.names(results)
    before, after = (report_numbers.refill(part, known, problems)
                     for part in (before, rest.partition(END)[2]))
    return f"{before}{BEGIN}\n{tables}\n{END}{after}", problems


if __name__ == "__main__":
    run_main(main)
