"""The README's and the report's numbers are the cards' numbers; the report makes itself, and nothing twice."""

import json
import re
import shutil

import pytest
from conftest import call

import gan.models
from common import synthetic
from common.weights import save_weights
from scripts import architecture, report, report_tables


def runs():
    return report_tables.gather()["runs"]


def test_readme_and_results_show_the_cards_of_today():
    text = (report.ROOT / "README.md").read_text()
    assert report.with_tables(text, report_tables.gather()) == text, "run: python -m scripts.report --write"
    kept = json.loads((report.ROOT / "report/results.json").read_text())
    assert {name: kept[name] for name in report_tables.gather()} == report_tables.gather(), "run: python -m scripts.report"


def test_report_holds_the_tables_of_its_results():
    folder = report.ROOT / "report"
    kept = json.loads((folder / "results.json").read_text())
    template = (report.ROOT / "scripts/report.md").read_text()
    text = (folder / "report.md").read_text()
    assert len(kept["measured"]) == 4
    for name, table in report_tables.tables(kept).items():
        assert f"<!-- table: {name} -->" in template and table in text, "run: python -m scripts.report"


def numbers_of(value):
    """Every number below a value of results.json, those within a pilot's cells too; not how it came to be."""
    if isinstance(value, dict):
        return [n for key, v in value.items() if key not in {"options", "versions", "curve", "confusion", "seconds"}
                for n in numbers_of(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers_of(v)]
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", str(value).replace(",", ""))]


@pytest.mark.parametrize("page", ["README.md", "report/report.md"])
def test_every_measured_number_in_the_text_is_in_the_results(page):
    """Those with a decimal point, and percentages. Tables are made of the results; code and sizes (3.6 M) are no measurements."""
    other = re.compile(r"```.*?```|`[^`]*`|^\|.*?$|Python 3.10|SA 3.0", re.DOTALL | re.MULTILINE)
    text = other.sub("", (report.ROOT / page).read_text())
    known = numbers_of(json.loads((report.ROOT / "report/results.json").read_text()))
    found = [a or b for a, b in re.findall(r"(?<![\w.])(?:(\d+\.\d+)(?! M\b)|(\d+)(?= %))", text)]
    missing = [n for n in found if not any(abs(float(n) - k) <= 0.501 * 10 ** -len(n.partition(".")[2]) for k in known)]
    assert found and not missing


def test_the_report_makes_itself_once(tmp_path):
    """Every part from released weights; a second time nothing; what cannot be made is named and stops nothing else."""
    data, output = tmp_path / "data", tmp_path / "report"
    for domain in synthetic.DOMAINS:
        synthetic.write_digits(data, domain, "test", 40, seed=0)
    arguments = ("--data", data, "--output", output, "--device", "cpu")
    call("scripts.report", *arguments, "--html")
    for name in ("fig1_2.jpg", "fig2_2.jpg", "losses_dcgan.png", "tsne_adda-st-mnistm-svhn_domain.png",
                 "confusion_dann-svhn-mnistm.png", "misread_dann-mnistm-svhn.png", "report.md", "results.json"):
        assert (output / name).stat().st_size > 1000
    assert len((output / "dann/predict_svhn_to_mnistm.csv").read_text().splitlines()) == 41
    page = (output / "report.html").read_text()
    assert page.count("data:image") == 20 and 'src="tsne' not in page

    made = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    (output / "fig1_2.jpg").unlink()
    assert call("scripts.report", *arguments).stdout.count("as it was") == 11
    assert (output / "fig1_2.jpg").exists() and made == {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}

    shutil.rmtree(data / "digits/svhn")
    (output / "fig2_2.jpg").unlink()
    result = call("scripts.report", *arguments, code=2)
    assert "digits-dann-mnistm-svhn" in result.stderr and (output / "fig2_2.jpg").exists()
    assert "digits-dann-svhn-mnistm: as it was" in result.stdout


def test_run_folders_take_the_place_of_released_weights(tmp_path):
    folder, output = tmp_path / "runs/dcgan", tmp_path / "report"
    folder.mkdir(parents=True)
    save_weights(folder / "weights.safetensors", gan.models.Generator(4), {"options": {"width": 4}})
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {n}, "D loss": 1.0, "G loss": {n}}}\n' for n in (1, 2)))
    result = call("scripts.report", "--runs", tmp_path / "runs", "--output", output, "--device", "cpu", "--only", "faces", code=2)
    assert "faces-acgan" in result.stderr and "runs/acgan/weights.safetensors is not there" in result.stderr
    call("scripts.report", "--runs", tmp_path / "runs", "--output", output, "--device", "cpu", "--only", "losses-dcgan")
    assert (output / "losses_dcgan.png").exists()
    call("gan.generate", "--weights", folder / "weights.safetensors", "--figure", tmp_path, "--device", "cpu")
    assert (output / "fig1_2.jpg").read_bytes() == (tmp_path / "fig1_2.jpg").read_bytes()


def test_architecture_counts_the_modules():
    found = architecture.networks()
    generator = found["DCGAN, generator"]
    assert sum(row[2] for row in generator) == 3_584_896
    # a transposed convolution multiplies each input value with its whole kernel, a convolution each output value
    assert generator[2][1:] == ("256x8x8", 512 * 256 * 16, 4 * 4 * 512 * 256 * 16)
    assert found["DCGAN, discriminator"][1][1:] == ("128x16x16", 64 * 128 * 16, 16 * 16 * 64 * 128 * 16)
    assert {"DANN, default", "DANN, report", "ACGAN, generator"} <= {*found}


def test_every_card_says_how_it_came_to_be():
    cards = [run for run in runs() if run["card"].startswith(("dann", "adda"))]
    for card in cards:
        assert {"command", "options", "steps", "seed", "selection", "hardware", "seconds", "versions", "data", "metrics"} <= {*card}
        method = card["options"]["method"]
        package = "adda" if method.startswith("adda") else "dann"
        assert card["command"].startswith(f"python -m {package}.train ") and 0 < report_tables.accuracy(card) <= 100
        one_domain = {"source-only": "source", "target-only": "target"}.get(method)
        assert set(card["data"]) == {card["options"][name] for name in ([one_domain] if one_domain else ["source", "target"])}


def test_released_cards_are_of_the_default_recipe():
    for package, method in (("dann", "dann"), ("adda", "adda+st")):
        for path in (report.ROOT / package / "weights").glob("*.safetensors"):
            card = json.loads(path.with_suffix(".json").read_text())
            assert card["options"]["preset"] == "default" and card["options"]["method"] == method and card["seed"] == 0
            assert path.stem == f"{method.replace('+', '-')}-{card['options']['source']}-{card['options']['target']}"
