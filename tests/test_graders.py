"""hw3_p1.sh to hw3_p4.sh with the released networks: some tests run the scripts, the others call the programs
in this process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CPU, call
from PIL import Image

import acgan.generate
import acgan.models
import acgan.train
import gan.generate
import gan.models
from common import synthetic
from common.figures import grid

ROOT = Path(__file__).parent.parent
PROBLEMS = {"hw3_p3.sh": "dann.predict", "hw3_p4.sh": "adda.predict"}
FIGURES = {"hw3_p1.sh": "gan.generate", "hw3_p2.sh": "acgan.generate"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made up digits")
    for domain in ("mnistm", "svhn"):
        synthetic.write_digits(folder, domain, "test", 100, seed=5)
    return folder / "digits"


def grade(script, *arguments, cwd, **settings):
    """Run a graders' script."""
    return subprocess.run(["bash", str(ROOT / script), *map(str, arguments)], capture_output=True, text=True,
                          check=False, cwd=cwd, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **settings})


def rows(path):
    header, *lines = path.read_text().splitlines()
    assert header == "image_name,label"
    return dict(line.split(",") for line in lines)


@pytest.mark.parametrize(("script", "target"), [("hw3_p3.sh", "svhn"), ("hw3_p4.sh", "mnistm")])
def test_from_a_folder_with_modules_of_its_own(digits, script, target, tmp_path):
    """Relative paths with spaces, no HOME, an ASCII locale; modules in the working directory are not
    imported. The labels are those of a call in this process."""
    shutil.copytree(digits / target / "test", tmp_path / "test images")
    for name in ("numpy.py", "torch.py", "PIL.py", "random.py", "signal.py", "dann.py", "adda.py",
                 "common.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger')\n")
    result = grade(script, "test images", target, "my out.csv", cwd=tmp_path, PYTHONPATH=str(tmp_path),
                   LC_ALL="C", HOME="")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    call(PROBLEMS[script], digits / target / "test", target, tmp_path / "here.csv")
    assert rows(tmp_path / "my out.csv") == rows(tmp_path / "here.csv")


@pytest.mark.parametrize("target", ["mnistm", "svhn"])
@pytest.mark.parametrize("program", PROBLEMS.values())
def test_released_networks_are_far_above_chance_on_made_up_digits(digits, program, target, tmp_path):
    out = tmp_path / "out.csv"
    result = call(program, digits / target / "test", target, out)
    assert (result.stdout, result.stderr) == ("", "")
    truth, predicted = rows(digits / target / "test.csv"), rows(out)
    assert list(predicted) == sorted(truth)
    assert sum(predicted[name] == label for name, label in truth.items()) > 0.6 * len(truth)


def test_any_subset_sizes_modes_and_names_give_the_same_labels(digits, tmp_path):
    """The prediction for an image does not depend on other images, their number or the file format."""
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    call("adda.predict", digits / "mnistm/test", "mnistm", whole)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (7, 3, 50):
        image = Image.open(digits / f"mnistm/test/{number:05}.png")
        image.convert("RGBA").save(folder / f"{number:05}.png")
    image.resize((64, 64)).save(folder / "large.jpg", quality=95)
    (folder / "readme.txt").write_text("not an image")
    call("adda.predict", folder, "mnistm", part)
    before, now = rows(whole), rows(part)
    assert sorted(now) == ["00003.png", "00007.png", "00050.png", "large.jpg"]
    assert all(now[name] == before[name] for name in now if name != "large.jpg")


def test_labels_are_never_read(digits, tmp_path):
    out = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for index, path in enumerate(out):
        copy = tmp_path / str(index) / "test"
        shutil.copytree(digits / "svhn/test", copy)
        if index:
            (copy.parent / "test.csv").write_text("nonsense")
        call("adda.predict", copy, "svhn", path)
    assert out[0].read_bytes() == out[1].read_bytes()


@pytest.mark.parametrize("program", PROBLEMS.values())
@pytest.mark.parametrize(("arguments", "says"), [
    (["IMAGES", "usps", "out.csv"], "usps"),
    (["IMAGES", "svhn"], "OUT_CSV"),
    (["IMAGES", "svhn", "out.csv", "more"], "more"),
    ([], "IMAGE_DIR"),
    (["nowhere", "svhn", "out.csv"], "nowhere"),
    (["EMPTY", "svhn", "out.csv"], "no image"),
    (["BROKEN", "svhn", "out.csv"], "00001.png"),
    (["IMAGES", "svhn", "no/such/folder/out.csv"], "no/such/folder"),
    (["IMAGES", "svhn", "."], "folder"),
    (["IMAGES", "svhn", "IMAGES/00001.png"], "00001.png"),
])
def test_bad_input_gives_a_one_line_error_exit_code_2_and_no_file(digits, tmp_path, monkeypatch, arguments,
                                                                  says, program):
    monkeypatch.chdir(tmp_path)
    for folder in ("EMPTY", "IMAGES", "BROKEN"):
        Path(folder).mkdir()
    for number in range(3):
        for folder in ("IMAGES", "BROKEN"):
            shutil.copy(digits / f"svhn/test/{number:05}.png", folder)
    Path("BROKEN/00001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    before = {path: path.read_bytes() for path in Path().rglob("*.*")}
    result = call(program, *arguments, code=2)
    assert result.stdout == "" and result.stderr.count("\n") == 1 and says in result.stderr
    assert {path: path.read_bytes() for path in Path().rglob("*.*")} == before


def test_start_imports_nothing_slow(digits, tmp_path):
    images, out = str(digits / "svhn/test"), str(tmp_path / "out.csv")
    calls = [[program, images, "svhn", out] for program in PROBLEMS.values()]
    calls += [[program, "--figure", str(tmp_path)] for program in FIGURES.values()]
    code = f"""
import sys
from importlib import import_module
for sys.argv in {calls}:
    import_module(sys.argv[0]).main()
print(sorted({{"torchvision", "pandas", "matplotlib", "sklearn", "scipy"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                            cwd=ROOT)
    assert result.stdout == "[]\n", result.stderr


def released_pairs():
    generator, strength = acgan.generate.load_generator(acgan.generate.WEIGHTS, CPU)
    return acgan.train.pairs(generator, acgan.models.noise(10, 0), strength).flatten(0, 1)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The figures of the scripts for each problem, and of the script for both."""
    folders = {script: tmp_path_factory.mktemp("my figures") for script in (*FIGURES, "hw3_p1p2.sh")}
    for script, folder in folders.items():
        result = grade(script, folder.name, cwd=folder.parent)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return folders


@pytest.mark.parametrize(("script", "name", "size", "faces"), [
    ("hw3_p1.sh", "fig1_2.jpg", (530, 266), lambda: gan.generate.generate(
        gan.generate.load_generator(gan.generate.WEIGHTS, CPU), gan.models.noise(32, 0), batch=1)),
    ("hw3_p2.sh", "fig2_2.jpg", (662, 134), released_pairs)])
def test_figures_are_the_first_faces(figures, script, name, size, faces, tmp_path, one_thread):
    assert os.listdir(figures[script]) == [name]
    with Image.open(figures[script] / name) as picture:
        assert picture.size == size and picture.mode == "RGB" and np.asarray(picture).std() > 40
    call(FIGURES[script], "--figure", tmp_path / "same.png")
    expected = np.asarray(grid(faces(), size[0] // 66))
    assert np.abs(np.asarray(Image.open(tmp_path / "same.png")).astype(int) - expected).max() <= 1


def test_the_name_of_2019_makes_both_figures(figures):
    both = figures["hw3_p1p2.sh"]
    assert sorted(os.listdir(both)) == ["fig1_2.jpg", "fig2_2.jpg"]
    for script, name in (("hw3_p1.sh", "fig1_2.jpg"), ("hw3_p2.sh", "fig2_2.jpg")):
        alone = np.asarray(Image.open(figures[script] / name)).astype(int)
        assert np.abs(np.asarray(Image.open(both / name)) - alone).mean() < 1


BAD_PLACES = [([], "expected one argument"), (["no/folder"], "no/folder"), ([".", "more"], "more")]


@pytest.mark.parametrize("program", FIGURES.values())
@pytest.mark.parametrize(("arguments", "says"), BAD_PLACES)
def test_bad_paths_for_figures_give_one_line_errors(program, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(program, "--figure", *arguments, code=2)
    assert result.stdout == "" and result.stderr.count("\n") == 1 and says in result.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("arguments", "says"), [
    (["no/folder"], "no/folder"), (["figure.png"], "figure.png")])
def test_both_figures_need_a_folder(arguments, says, tmp_path):
    result = grade("hw3_p1p2.sh", *arguments, cwd=tmp_path)
    assert (result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
            and says in result.stderr)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("script", sorted(ROOT.glob("hw3_p*.sh")), ids=lambda p: p.name)
def test_scripts_follow_the_rules_of_the_course(script):
    code = re.sub(r"#.*", "", script.read_text())
    assert not re.search(r"(^|[;&|(\s])(mkdir|cd|rm|cp|mv|pip|sudo|curl|wget)\s", code)
    assert "CUDA_VISIBLE_DEVICES" not in code and "python3" in code
