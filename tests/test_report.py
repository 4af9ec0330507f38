"""The numbers in README.md and in the report are those of the cards; the report is created even if some
inputs are damaged."""

import copy
import importlib.util
import json
import random
import re
import shutil

import pytest
import torch

import gan.models
from common import synthetic
from common.cli import InputError, Range
from common.datasets import content_hash, read_images
from common.files import write
from common.weights import save_weights
from scripts import architecture, report, report_numbers, report_parts, report_tables

# literal numbers in the texts: versions, licences, settings, sizes; never measurements of this repository
LITERALS = ("Python 3.10", "Python 3.11", "CC BY-SA 3.0", "(95 % interval)",
            "probability between 0.1 and 0.9", "N(0, 0.02)", "0.29 M parameters")
NO_PROSE = re.compile(r"```.*?```|`[^`]*`|^\|.*?$|[\d.,]+(?=<!-- \{)|<[^>]*>|\]\([^)]*\)|\{[^{}]*\}",
                      re.DOTALL | re.MULTILINE)
MEASURED = re.compile(r"(?<![\w.,])(?:\d[\d,]*\.\d+"
                      r"|\d[\d,]*(?= ?(?:%|(?:percent|points?|times|minutes?|seconds?|hours?|ms)\b)))")
README = report.ROOT / "README.md"


def literals(text):
    """The numbers in a text, outside of tables and code, that look like measurements and have no name."""
    for known in LITERALS:
        text = text.replace(known, "")
    return MEASURED.findall(NO_PROSE.sub("", text))


@pytest.fixture(scope="module")
def results():
    """The results of the current cards, and the stored measurements of the report."""
    found, problems = report_numbers.gather()
    assert not problems
    found["measured"] = report_numbers.measured(report.ROOT / "report/measured", problems)
    assert not problems
    return json.loads(json.dumps({**found, "networks": architecture.networks()}))


def template(name="report"):
    return (report.ROOT / f"scripts/{name}.md").read_text()


# ---- the current pages

def test_readme_shows_the_cards_of_today(results):
    text, problems = report.readme_text(README.read_text(), results)
    assert not problems and text == README.read_text(), "run: python -m scripts.report --write"


def test_the_report_shows_the_cards_of_today(results):
    folder = report.ROOT / "report"
    assert json.loads((folder / "results.json").read_text()) == results, (
        "run: python -m scripts.report --data hw3_data")
    for name in report.PAGES:
        text, problems = report.report_text(template(name), results)
        assert not problems and text == (folder / f"{name}.md").read_text(), (
            "run: python -m scripts.report --only text")


def test_every_measured_number_in_the_prose_is_named():
    assert not any(map(literals, (template("report"), template("notebook"), README.read_text())))


def test_the_report_measured_what_the_released_cards_say(results):
    for card in results["runs"]:
        if card["weights"] and card["options"].get("method") in report_tables.RELEASED:
            name = card["card"].split("/")[-1].removesuffix(".json")
            assert results["measured"][name]["accuracy"] == report_tables.accuracy(card)
            of_card = card["metrics"][report_numbers.measurement(card)].get("images")
            assert of_card in (None, results["measured"][name]["images"])


@pytest.mark.parametrize("sentence", [
    "It reaches 87 %.", "It reaches 87.25 on SVHN.", "It gains 3 points.", "It takes 12 minutes.",
    "It is 3 times as fast.", "Between 1,071 and 2,000 ms.", "(0.124)", "57%", "**94.6 %**"])
def test_a_measured_number_without_a_name_is_found(sentence):
    assert literals(f"The next number is ours. {sentence}\n")


def test_no_changed_number_passes(results):
    """Each number of both pages (of a name, a table or the literals), changed in turn, must be detected."""
    readme = README.read_text()

    def fine(text):
        return not literals(text) and report.readme_text(text, results) == (text, [])

    assert fine(readme)
    named = list(re.finditer(r"\d+(?:\.\d+)?(?=<!-- \{)", readme))
    begin, end = readme.index(report.BEGIN), readme.index(report.END)
    in_tables = [m for m in re.finditer(r"(?<![\w.])\d+\.\d+", readme) if begin < m.start() < end]
    known = [m for m in MEASURED.finditer(readme)
             if any(text in readme[m.start() - 30:m.end() + 30] for text in LITERALS)]
    assert len(named) >= 4 and len(in_tables) >= 6 and len(known) >= 3
    assert [m[0] for m in (*named, *in_tables, *known) if fine(changed(readme, m))] == []

    for name in report.PAGES:
        page, text = ((report.ROOT / f"report/{name}.md").read_text(),
                      report.report_text(template(name), results)[0])
        assert page == text
        numbers = list(re.finditer(r"(?<![\w.])\d+(?:\.\d+)?", page))
        assert all(changed(page, m) != text for m in random.Random(0).sample(numbers, 200))
        for m in MEASURED.finditer(NO_PROSE.sub(lambda found: " " * len(found[0]), template(name))):
            assert literals(changed(template(name), m))


def changed(text, found):
    """The text with one number replaced by another of the same format."""
    digits = [i for i in range(found.start(), found.end()) if text[i].isdigit()]
    place = digits[-1]
    return text[:place] + str((int(text[place]) + 3) % 10) + text[place + 1:]


def test_an_unknown_name_or_format_is_named(results, tmp_path, monkeypatch):
    asked = "It has {dann/no-such-run.accuracy:.1f} and {judge.Male:.1q}, and <!-- table: none -->."
    text, problems = report.report_text(asked, results)
    assert text.count(report_numbers.MISSING) == 3 and len(problems) == 3
    assert ("dann/no-such-run.accuracy" in problems[0] and "judge.Male" in problems[1]
            and "'none'" in problems[2])
    page = tmp_path / "README.md"
    page.write_text(before := README.read_text().replace(
        "{gan/dcgan.minutes:.0f}", "{gan/dcgan.minuets:.0f}"))
    with pytest.raises(InputError, match=r"minuets"):
        report.write_readme(page)
    assert page.read_text() == before
    page.write_text(before.replace("{gan/dcgan.minuets:.0f}", "{gan/dcgan.minutes:.0f}")
                    .replace("115<!--", "7<!--"))
    report.write_readme(page)
    assert page.read_text() == report.readme_text(README.read_text(), results)[0]


def test_names_are_filled_in_and_kept_up_to_date():
    known, problems = {"a/b.c d": 12.345, "n": 3, "cell": "1.07"}, []
    assert report_numbers.fill("{a/b.c d} {a/b.c d:.1f} {n} {cell}", known, problems) == "12.35 12.3 3 1.07"
    text = "of 8.0 (9<!-- {a/b.c d:.1f} --> to **1,000.5<!-- {n} -->**), (missing)<!-- {cell} --> {n}"
    assert (report_numbers.refill(text, known, problems)
            == "of 8.0 (12.3<!-- {a/b.c d:.1f} --> to **3<!-- {n} -->**), 1.07<!-- {cell} --> {n}")
    assert not problems


# ---- numbers that cannot be reproduced with the published data are not shown

OLD = {"mnistm": report_numbers.EARLIER}


@pytest.mark.parametrize("source,target,data,released,images,shown", [
    ("mnistm", "svhn", OLD, False, None, False),  # trained on the earlier set, and no weights to evaluate
    ("mnistm", "svhn", OLD, True, None, True),  # the accuracy of the released weights on SVHN is unchanged
    ("svhn", "mnistm", OLD, True, None, False),  # not measured again yet
    ("svhn", "mnistm", OLD, True, "cd", True),
    ("svhn", "mnistm", OLD, False, "cd", False),
    # source only: trained on SVHN, tested on the earlier set
    ("svhn", "mnistm", {"svhn": "ef"}, False, None, False),
    ("svhn", "mnistm", {"svhn": "ef"}, False, "cd", True),
    ("mnistm", "svhn", {"svhn": "ef"}, False, None, True),  # target only
    ("mnistm", "svhn", {"mnistm": "new"}, False, None, True)])
def test_which_numbers_hold(project, source, target, data, released, images, shown):
    """A run with these domains and data hashes, with or without released weights, tested on these images."""
    card = json.loads((project / CARDS[3]).read_text())
    figures = {"accuracy": 50.5, **({"images": images} if images else {})}
    card |= {"data": data, "options": {**card["options"], "source": source, "target": target},
             "weights": "of another time",
             "metrics": {f"{target} test": figures, f"{target} test, AdaBN": {"accuracy": 40.4}}}
    path = project / "dann/results/mine.json"
    path.write_text(json.dumps(card))
    if released:
        path.with_suffix(".safetensors").write_bytes(b"weights")
    found, problems = report_numbers.gather()
    mine = [run for run in found["runs"] if run["card"] == "dann/results/mine.json"]
    assert (not problems and bool(mine) is shown
            and ("dann/results/mine.json" in found["to be trained again"]) is not shown)
    names = report_numbers.names({**found, "networks": {}})
    assert names.get(f"dann/mine.{target} test.accuracy") == (50.5 if shown else None)
    if target == "mnistm":  # an older measurement, on the earlier set
        assert f"dann/mine.{target} test, AdaBN.accuracy" not in names


def test_numbers_that_do_not_hold_are_nowhere(results):
    dropped = results["to be trained again"]
    assert not {run["card"] for run in results["runs"] + results["ablation"]} & set(dropped)
    pages = README.read_text() + template("report") + template("notebook")
    assert not [path for path in dropped if re.sub(r"weights/|results/|\.json$", "", path) + "." in pages]
    assert ("earlier MNIST-M" not in results["pilots"]
            and not any("on the earlier MNIST-M" in p for p in results["pilots"].values()))


def test_pages_are_printed(make, folder):
    """With WeasyPrint: a PDF. Without it: an error that says what to install, before any work."""
    if importlib.util.find_spec("weasyprint") is None:
        assert "pip install weasyprint" in make("--output", folder, "--only", "text", "--pdf", fails=True)[1]
        assert not (folder / "report.md").exists()
    else:
        make("--output", folder, "--only", "text", "--pdf")
        assert (folder / "report.pdf").read_bytes().startswith(b"%PDF") and (folder / "notebook.pdf").exists()


def test_rows_without_a_number_are_marked(results):
    found = copy.deepcopy(results)
    found["runs"] = [run for run in found["runs"] if run["card"].startswith(("gan", "acgan"))]
    found["ablation"] = []
    table = report_tables.results_table(found)
    assert table.count(report_tables.AGAIN) == 2 * len(report_tables.ROWS) + 1
    assert (report_tables.report_recipe_table(found).count(report_tables.AGAIN)
            == 4 * len(report_tables.REPORT_ROWS))
    assert report_tables.summary_table(found).count(report_tables.AGAIN) == 2 * len(report_tables.SUMMARY) + 1
    assert " ".join(table.split()).endswith(report_tables.EARLIER)
    assert "again" in report_tables.ablation_table(found) and "again" in report_tables.runs_table(found)


def test_a_row_shows_the_number_that_it_names():
    def run(accuracy, adabn, seed=0, **options):
        options = {"target": "svhn", "method": "source-only", "epochs": 10, **options}
        return {"seed": seed, "data": {}, "options": options,
                "metrics": {"svhn test": {"accuracy": accuracy},
                            **({"svhn test, AdaBN": {"accuracy": adabn}} if adabn else {})}}

    both = [run(60.123, None, seed=1), run(50.0, 55.5, method="dann")]
    assert [report_tables.cell(both, kind) for kind in ("default", "adabn", "seeds")] == [
        "**50.00**", "**55.50**", "55.1 ± 7.2 (2 seeds)"]
    assert report_tables.cell(both[:1], "default") == "60.12"
    assert {report_tables.cell(found, kind) for found, kind in (
        (both[:1], "adabn"), (both[:1], "seeds"), ([], "default"))} == {report_tables.AGAIN}


def test_the_summary_has_released_weights_and_the_mean_of_the_seeds():
    def run(accuracy, seed, method, program="dann.train"):
        options = {"preset": "default", "source": "mnistm", "target": "svhn", "method": method, "epochs": 0}
        return {"card": f"dann/results/{seed}.json", "program": program, "seed": seed, "data": {},
                "options": options, "metrics": {"svhn test": {"accuracy": accuracy}}}

    runs = [run(70.0, 1, "dann"), run(74.0, 0, "dann"),
            run(60.5, 0, "source-only"), run(61.0, 1, "source-only")]
    table = report_tables.summary_table(
        {"runs": runs, "original networks": {"dann": (1.5, 2.5), "adda": (3.5, 4.5)}})
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1] for line in table.splitlines()[2:9]}
    assert (rows["**DANN**"] == "**74.00**; 72.0 ± 2.8 (2 seeds)"
            and rows["source only: no target image"] == "60.50")
    assert (rows["ADDA"] == report_tables.AGAIN
            and rows["the original's ADDA, its own weights on these digits"] == "3.5")


def test_the_oracle_has_a_column_of_its_own():
    """The last step is the result; the best checkpoint has its own column, only for the report's recipe."""
    def run(accuracy, kept, seed, program="dann.train", method="dann", preset="report"):
        options = {"preset": preset, "source": "mnistm", "target": "svhn", "method": method, "epochs": 2}
        return {"card": f"dann/results/{seed}.json", "program": program, "seed": seed, "data": {},
                "options": options, "metrics": {"svhn test": {"accuracy": accuracy, "after steps": kept}}}

    def rows(*runs):
        table = report_tables.report_recipe_table(
            {"runs": [*runs], "original report": report_numbers.ORIGINAL})
        return {line.split(" | ")[0].strip("| "): line.split(" | ")[1:4] for line in table.splitlines()[2:]}

    first, second = run(40.0, {"10": 47.0, "20": 40.0}, 0), run(44.0, {"10": 41.0, "20": 44.0}, 1)
    assert rows(first)["DANN"] == ["40.00", "47.00", "46.4"]
    assert rows(first, second)["DANN"] == ["42.0 ± 2.8 (2 seeds)", "45.5", "46.4"]
    assert rows(run(90.0, {}, 0, "adda.train", "target-only"))["target only, the network of problem 4"] == [
        "90.00", "–", "90"]
    assert rows(run(95.0, {}, 0, method="target-only"))["target only, the network of DANN"] == [
        "95.00", "–", "–"]
    assert rows(run(70.0, {"10": 75.0}, 0, preset="default"))["DANN"][:2] == [report_tables.AGAIN] * 2


def test_criteria_without_labels_are_ranked_against_accuracy():
    def run(accuracy, norm, predictions, number, source="mnistm", target="svhn", **options):
        options = {"preset": "default", "source": source, "target": target, "method": "dann", "epochs": 0,
                   **options}
        found = {"nuclear norm": norm, "confident": 1 - norm, "entropy": norm, "predictions": predictions}
        return {"card": f"dann/results/{number}.json", "program": "dann.train", "options": options,
                "metrics": {f"{target} test": {"accuracy": accuracy, "criteria": found}}}

    numbers = [(70.0, 0.5, "1 2 3 4"), (71.0, 0.6, "1 2 3 4"), (72.0, 0.7, "1 2 3 5"), (73.0, 0.8, "9 8 3 5")]
    runs = [run(*given, n, *domains)
            for domains in ((), ("svhn", "mnistm")) for n, given in enumerate(numbers)]
    # neither runs of the report's recipe nor those that see no target count
    others = [run(99.0, 0.0, "0 0 0 0", 9, preset="report"),
              run(99.0, 0.0, "0 0 0 0", 9, method="source-only")]
    table = report_tables.criteria_table({"runs": [*runs, *others], "ablation": []})
    rows = {line.split(" | ")[0].strip("| "): line.strip("|").split(" | ")[1:4]
            for line in table.splitlines()[2:]}
    assert rows["nuclear norm of the predictions"] == ["1.00 (4 runs)", "73.0", "73.0"]
    assert rows["share of confident predictions"] == ["-1.00 (4 runs)", "70.0", "73.0"]
    assert rows["low entropy of the predictions"] == ["-1.00 (4 runs)", "70.0", "73.0"]
    # (1 + 3/4 + 1/4) / 3 of the first and the second
    assert rows["agreement with the other runs"][1] == "70.0"
    assert "again" in report_tables.criteria_table({"runs": runs[:5], "ablation": []})


def test_released_numbers_are_of_one_data_set(results):
    """All accuracies on MNIST-M, including those of the report, were measured on the same test images."""
    tested = {run["metrics"]["mnistm test"]["images"] for run in results["runs"]
              if run["options"].get("target") == "mnistm"}
    tested |= {figures["images"] for name, figures in results["measured"].items() if name.endswith("-mnistm")}
    assert len(tested) <= 1


# ---- cards

def test_every_card_says_how_it_came_to_be():
    for path in [path for package in ("dann", "adda")
                 for path in (report.ROOT / package).glob("*/**/*.json")]:
        found = json.loads(path.read_text())
        assert {"program", "command", "options", "steps", "seed", "selection", "hardware", "seconds",
                "versions", "data", "metrics"} <= {*found}
        method = found["options"]["method"]
        assert (found["command"].startswith(f"python -m {found['program']} ")
                and 0 < report_tables.accuracy(found) <= 100)
        one_domain = {"source-only": "source", "target-only": "target"}.get(method)
        domains = {found["options"][name] for name in ([one_domain] if one_domain else ["source", "target"])}
        assert {name.removesuffix(" labels") for name in found["data"]} == domains


def test_released_cards_are_of_the_default_recipe():
    for package, methods in (("dann", ("dann", "source-only")), ("adda", ("adda+st",))):
        for path in (report.ROOT / package / "weights").glob("*.safetensors"):
            found = json.loads(path.with_suffix(".json").read_text())
            options = found["options"]
            assert options["preset"] == "default" and options["method"] in methods and found["seed"] == 0
            assert path.stem == (
                f"{options['method'].replace('+', '-')}-{options['source']}-{options['target']}")


def test_architecture_counts_the_modules(results):
    """`results` contains the original output of `architecture.networks`, which the fixture `quick` replaces
    in other tests."""
    generator = results["networks"]["DCGAN, generator"]
    assert sum(row[2] for row in generator) == 3_584_896
    # a transposed convolution uses its whole kernel for each input value, a convolution for each output value
    assert generator[2][1:] == ["256x8x8", 512 * 256 * 16, 4 * 4 * 512 * 256 * 16]
    assert results["networks"]["DCGAN, discriminator"][1][1:] == [
        "128x16x16", 64 * 128 * 16, 16 * 16 * 64 * 128 * 16]
    assert {"DANN, default", "DANN, report", "ACGAN, generator"} <= {*results["networks"]}


# ---- creating the report

@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path, results):
    """Skip t-SNE and the listing of the networks, which other tests cover."""
    monkeypatch.setenv("HW3_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("common.tsne.embed", lambda features, seed: features[:, :2].numpy())
    monkeypatch.setattr("common.tsne.draw", lambda path, *rest: write(path, bytes(2000)))
    monkeypatch.setattr("scripts.architecture.networks", lambda: results["networks"])


@pytest.fixture
def make(monkeypatch, capsys):
    """A function that runs the program, and returns its output and its error message, if any."""

    def call(*arguments, fails=False):
        monkeypatch.setattr("sys.argv", ["report", *map(str, arguments), "--device", "cpu"])
        if fails:
            with pytest.raises(InputError) as caught:
                report.main()
            assert "\n" not in str(caught.value)
            return capsys.readouterr().out, str(caught.value)
        report.main()
        return capsys.readouterr().out, ""
    return call


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The numbers' files, copied with placeholders for weights, which are read instead of the repository."""
    root = tmp_path / "project"
    for path in [p for package in (*report_numbers.PROGRAMS, "scripts")
                 for p in (report.ROOT / package).glob("*/**/*.json")]:
        copied = root / path.relative_to(report.ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
        if path.with_suffix(".safetensors").exists():
            copied.with_suffix(".safetensors").write_bytes(b"weights")
    for name in ("scripts/pilots.json", "scripts/report.md", "scripts/notebook.md"):
        shutil.copy(report.ROOT / name, root / name)
    monkeypatch.setattr(report_numbers, "ROOT", root)
    monkeypatch.setattr(report, "ROOT", root)
    return root


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "report").mkdir()
    return tmp_path / "report"


def test_the_report_makes_itself(tmp_path, make, folder):
    """All parts from released weights, or only those requested. Parts that fail are named, and do not affect
    the others."""
    data = tmp_path / "data"
    for domain in synthetic.DOMAINS:
        synthetic.write_digits(data, domain, "test", 40, seed=0)
    arguments = ("--data", data, "--output", folder)
    make(*arguments, "--html")
    for name in ("fig1_2.jpg", "fig2_2.jpg", "sheet_dcgan.jpg", "walk_dcgan.gif", "strip_acgan.jpg",
                 "losses_dcgan.png", "tsne_adda-st-mnistm-svhn_domain.png",
                 "confusion_dann-svhn-mnistm.png", "misread_dann-mnistm-svhn.png",
                 "report.md", "notebook.md", "results.json"):
        assert (folder / name).stat().st_size > 1000
    assert len((folder / "dann/predict_svhn_to_mnistm.csv").read_text().splitlines()) == 41
    measured = json.loads((folder / "measured/dann-svhn-mnistm.json").read_text())
    assert measured["images"] == content_hash(read_images(data / "digits/mnistm/test")[0])
    page = (folder / "report.html").read_text()
    assert page.count("data:image") == 22 and 'src="tsne' not in page

    for path in folder.rglob("*.*"):
        path.unlink()
    make(*arguments, "--only", "losses-dcgan")
    assert [path.name for path in folder.rglob("*.*")] == ["losses_dcgan.png"]
    make(*arguments, "--only", "text")
    assert {path.name for path in folder.rglob("*.*")} == {
        "losses_dcgan.png", "report.md", "notebook.md", "results.json"}

    shutil.rmtree(data / "digits/svhn")
    _, sentence = make(*arguments, fails=True)
    assert ("digits-dann-mnistm-svhn could not be created" in sentence
            and "digits-dann-svhn-mnistm could" not in sentence)
    assert (folder / "confusion_dann-svhn-mnistm.png").exists() and (folder / "fig2_2.jpg").exists()


def test_every_part_takes_the_networks_of_the_run_folders(tmp_path, root):
    for part in report_parts.parts(tmp_path, tmp_path / "runs", root, torch.device("cpu")):
        with pytest.raises(InputError,
                           match=f"{tmp_path / 'runs'}/.*(is not there|does not exist|has no curve)"):
            part.make()


def test_data_of_the_earlier_kind_are_refused(tmp_path, make, folder):
    synthetic.write_digits(tmp_path, "mnistm", "test", 20, seed=0)
    (tmp_path / "digits/mnistm/.test.json").write_text("{}")
    arguments = ("--data", tmp_path, "--output", folder, "--only", "digits-dann-svhn")
    assert "earlier version" in make(*arguments, fails=True)[1] and not [*folder.glob("confusion*")]
    (tmp_path / "digits/mnistm/.test.json").unlink()
    make(*arguments)
    assert len([*folder.glob("confusion*")]) == 1


def test_run_folders_take_the_place_of_released_weights(tmp_path, make, folder):
    run = tmp_path / "runs/dcgan"
    run.mkdir(parents=True)
    options = json.loads(gan_card().read_text())["options"]
    save_weights(run / "weights.safetensors", gan.models.Generator(4),
                 {"program": "gan.train", "options": {**options, "width": 4}})
    (run / "metrics.jsonl").write_text("".join(
        f'{{"step": {n}, "D loss": 1.0, "G loss": {n}}}\n' for n in (1, 2)))
    arguments = ("--runs", tmp_path / "runs", "--output", folder, "--only")
    _, sentence = make(*arguments, "faces", fails=True)
    assert "faces-acgan" in sentence and "runs/acgan/weights.safetensors is not there" in sentence
    make(*arguments, "losses-dcgan")
    assert (folder / "losses_dcgan.png").exists() and (folder / "fig1_2.jpg").exists()

    # incomplete
    (run / "metrics.jsonl").write_text('{"step": 1, "D loss": 1.0, "G loss": 1}\n{"step": 2, "D lo')
    make(*arguments, "losses-dcgan")
    for damaged in ("", "null", "[1]", "\x00", '{"step": 1}', '{"step": 1, "D loss": NaN, "G loss": 1}',
                    '{"step": 1, "D loss": "x", "G loss": 1}', '{"step": 1, "D loss": [1], "G loss": {}}',
                    '{"step": 1, "D loss": 1e999, "G loss": 2}'):
        (run / "metrics.jsonl").write_text(damaged)
        _, sentence = make(*arguments, "losses-dcgan", fails=True)
        assert "losses-dcgan could not be created" in sentence and "metrics.jsonl" in sentence


def gan_card():
    return report.ROOT / "gan/weights/dcgan.json"


# ---- damaged inputs

CARDS = ("gan/weights/dcgan.json", "gan/results/ablation/deviation-0.02.json",
         "acgan/weights/acgan-smiling.json", "dann/results/target-only-mnistm-svhn.json",
         "adda/results/ablation/whole-mnistm-svhn.json", "scripts/weights/attributes.json",
         "scripts/pilots.json", "report/measured/dann-mnistm-svhn.json")
CONTENTS = (b"", b"{", b"null", b"[]", b"[1]", b"3", b"{}", b'{"metrics": NaN}', b"\xff\xfe\x00",
            b"[" * 100_000, b'{"program": "adda.evaluate", "options": {}}')


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("name", CARDS)
def test_a_damaged_file_is_named_and_stops_nothing(project, folder, name, content):
    path = folder / "measured/dann-mnistm-svhn.json" if name.startswith("report/") else project / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    problems = report.write_report(folder, html=False)
    if name == "scripts/pilots.json" and content == b"{}":
        assert problems and all("pilots" in problem for problem in problems)
    else:
        assert problems and all(str(path) in problem for problem in problems)
    assert (json.loads((folder / "results.json").read_text())["runs"]
            and "# Report" in (folder / "report.md").read_text())


WRONG = (None, True, "x", [], {}, [1], {"a": 1}, -1, 1e300, 10**400, float("inf"))


def leaves(form, place=()):
    """The paths in a card that the tables use, their schemas, and whether they are optional."""
    for key, part in form.items():
        if isinstance(part, dict) and part:
            yield from leaves(part, (*place, key.rstrip("?")))
        yield (*place, key.rstrip("?")), part, key.endswith("?")


def is_right(wrong, form, optional):
    """Whether one of the wrong values is valid for this schema."""
    if wrong is None:
        return optional
    if isinstance(form, Range):
        return (isinstance(wrong, int | float) and wrong is not True and form.problem(wrong) is None
                and abs(wrong) <= 1e300)
    if isinstance(form, dict):
        return isinstance(wrong, dict) and all(key.endswith("?") for key in form)
    return form is str and isinstance(wrong, str)


@pytest.mark.parametrize("package,name", [("gan", CARDS[0]), ("acgan", CARDS[2]), ("dann", CARDS[3])])
def test_malformed_cards_give_an_error_or_a_table(project, package, name):
    """For all values that the tables use and all kinds of wrong values, the card is refused with an error
    that names the file; if the value is valid, the tables can be created."""
    path = project / name
    whole = json.loads(path.read_text())
    places = [*leaves(report_numbers.FORMS[package])]
    if package == "dann":
        places += [(("metrics", f"svhn test{end}", "accuracy"), report_numbers.PERCENT, bool(end))
                   for end in ("", ", AdaBN")]
    for (*above, last), form, optional in places:
        if {"pairs", "classes"} & {*above} and package == "gan":
            continue
        for wrong in (*WRONG, "missing"):
            inner = damaged = copy.deepcopy(whole)
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = wrong
            if wrong == "missing":
                del inner[last]
            path.write_text(json.dumps(damaged).replace("Infinity", "1e999"))
            try:
                found = report_numbers.read_run(path)
            except InputError as problem:
                assert str(path) in str(problem)
                assert wrong is not None or "missing" in str(problem) or last in ("options", "metrics")
                continue
            assert is_right(None if wrong == "missing" else wrong, form, optional), (above, last, wrong)
            every = {"runs": [found], "ablation": [found], "measured": {}, "pilots": {}, "judge": {},
                     "original report": report_numbers.ORIGINAL, "best of the peers": report_numbers.PEERS}
            report_tables.tables(every)
            report_numbers.names(every)
            report_numbers.holds(found)


@pytest.mark.parametrize("change", [{"per_class": [50.0] * 9}, {"per_class": [50.0] * 11},
                                    {"per_class": [101] * 10}, {"per_class": ["x"] * 10}, {"per_class": None},
                                    {"accuracy": -1}, {"accuracy": "x"}, {"title": 3}, {"images": None}])
def test_malformed_measurements_are_named(tmp_path, change):
    whole = {"title": "DANN", "images": "ab", "accuracy": 50.0, "per_class": [50.0] * 9 + [None]}
    path = tmp_path / "dann-mnistm-svhn.json"
    path.write_text(json.dumps(whole))
    problems = []
    assert report_numbers.measured(tmp_path, problems) == {path.stem: whole} and not problems
    path.write_text(json.dumps({**whole, **change}))
    assert report_numbers.measured(tmp_path, problems) == {} and str(path) in problems[0]


def test_a_damaged_readme_table_or_card_leaves_the_readme_alone(project, tmp_path):
    page = project / "README.md"
    shutil.copy(README, page)
    for name in CARDS[1::-1]:  # one whose numbers are only in the table, and one that the text names too
        (project / name).write_text("{")
        with pytest.raises(InputError, match=name):
            report.write_readme(page)
    assert page.read_text() == README.read_text()
    for text in ("no marks", report.END + report.BEGIN, 2 * f"{report.BEGIN}{report.END}"):
        with pytest.raises(InputError, match="markers"):
            report.readme_text(text, {})


# ---- the command line

def test_where_the_report_cannot_be_written(tmp_path, make, folder, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file/below"):
        assert str(output) in make("--output", output, "--only", "losses", fails=True)[1]
    assert (tmp_path / "file").read_text() == "mine"
    (folder / "report.md").mkdir()
    assert "report.md is a folder" in make("--output", folder, "--only", "losses", fails=True)[1]
    (folder / "report.md").rmdir()
    (folder / "losses_dcgan.png").mkdir()
    sentence = make("--output", folder, "--only", "losses", fails=True)[1]
    assert "losses_dcgan.png" in sentence and (folder / "losses_acgan.png").exists()
    assert not [*folder.rglob("*.part")]
    monkeypatch.chdir(folder)
    (folder / "losses_dcgan.png").rmdir()
    make("--output", ".", "--only", "losses")
    assert (folder / "losses_dcgan.png").exists()


@pytest.mark.parametrize("arguments,named", [
    (["--only", "nothing"], "nothing"), (["--runs", "nowhere"], "nowhere is not a folder"),
    (["--data", "nowhere", "--only", "digits"], "nowhere/digits/svhn/test")])
def test_unknown_arguments_are_named(make, folder, arguments, named):
    assert named in make("--output", folder, *arguments, fails=True)[1]
