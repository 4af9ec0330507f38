"""hw3_p1.sh to hw3_p4.sh as graders call them, with the released networks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CPU
from PIL import Image

import acgan.generate
import acgan.models
import acgan.train
import gan.generate
import gan.models
from common import synthetic
from common.figures import grid

ROOT = Path(__file__).parent.parent
PROBLEMS = ("hw3_p3.sh", "hw3_p4.sh")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made up digits")
    for domain in ("mnistm", "svhn"):
        synthetic.write_digits(folder, domain, "test", 200, seed=5)
    return folder / "digits"


def grade(*arguments, cwd=None, script="hw3_p4.sh"):
    return subprocess.run(["bash", str(ROOT / script), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})


def rows(path):
    header, *lines = path.read_text().splitlines()
    assert header == "image_name,label"
    return dict(line.split(",") for line in lines)


@pytest.mark.parametrize("target", ["mnistm", "svhn"])
@pytest.mark.parametrize("script", PROBLEMS)
def test_released_networks_are_far_above_chance_on_made_up_digits(digits, script, target, tmp_path):
    out = tmp_path / "out.csv"
    result = grade(digits / target / "test", target, out, script=script)
    assert (result.returncode, result.stderr) == (0, "")
    truth, predicted = rows(digits / target / "test.csv"), rows(out)
    assert list(predicted) == sorted(truth)
    assert sum(predicted[name] == label for name, label in truth.items()) > 0.6 * len(truth)


def test_from_any_folder_with_relative_paths_and_spaces(digits, tmp_path):
    work = tmp_path / "some where"
    shutil.copytree(digits / "svhn/test", work / "test images")
    for script in PROBLEMS:
        result = grade("test images", "svhn", f"my out {script}.csv", cwd=work, script=script)
        assert result.returncode == 0, result.stderr
        assert len(rows(work / f"my out {script}.csv")) == 200


def test_any_subset_sizes_modes_and_names_give_the_same_labels(digits, tmp_path):
    """A prediction depends on its image alone: not on the others, their number or the files' form."""
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    grade(digits / "mnistm/test", "mnistm", whole)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (7, 3, 100):
        image = Image.open(digits / f"mnistm/test/{number:05}.png")
        image.convert("RGBA").save(folder / f"{number:05}.png")
    image.resize((64, 64)).save(folder / "large.jpg", quality=95)
    (folder / "readme.txt").write_text("not an image")
    assert grade(folder, "mnistm", part).returncode == 0
    before, now = rows(whole), rows(part)
    assert sorted(now) == ["00003.png", "00007.png", "00100.png", "large.jpg"]
    assert all(now[name] == before[name] for name in now if name != "large.jpg")


def test_labels_are_never_read(digits, tmp_path):
    out = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for index, path in enumerate(out):
        copy = tmp_path / str(index) / "test"
        shutil.copytree(digits / "svhn/test", copy)
        if index:
            (copy.parent / "test.csv").write_text("nonsense")
        assert grade(copy, "svhn", path).returncode == 0
    assert out[0].read_bytes() == out[1].read_bytes()


@pytest.mark.parametrize("script", PROBLEMS)
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
])
def test_bad_input_is_one_sentence_exit_code_2_and_no_file(digits, tmp_path, arguments, says, script):
    (tmp_path / "EMPTY").mkdir()
    shutil.copytree(digits / "svhn/test", tmp_path / "IMAGES")
    shutil.copytree(digits / "svhn/test", tmp_path / "BROKEN")
    (tmp_path / "BROKEN/00001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    before = sorted(p.name for p in tmp_path.iterdir())
    result = grade(*arguments, cwd=tmp_path, script=script)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and says in result.stderr and "Traceback" not in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("package", ["dann", "adda"])
def test_start_imports_nothing_slow(digits, package, tmp_path):
    code = f"""
import sys
sys.argv = ["predict", {str(digits / 'svhn/test')!r}, "svhn", {str(tmp_path / 'out.csv')!r}]
from {package} import predict
predict.main()
print(sorted({{"torchvision", "pandas", "matplotlib", "sklearn", "scipy"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.stdout == "[]\n", result.stderr


def released_pairs():
    generator, strength = acgan.generate.load_generator(acgan.generate.WEIGHTS, CPU)
    return acgan.train.pairs(generator, acgan.models.noise(10, 0), strength).flatten(0, 1)


@pytest.mark.parametrize(("script", "name", "size", "faces"), [
    ("hw3_p1.sh", "fig1_2.jpg", (530, 266), lambda: gan.generate.generate(
        gan.generate.load_generator(gan.generate.WEIGHTS, CPU), gan.models.noise(32, 0), batch=1)),
    ("hw3_p2.sh", "fig2_2.jpg", (662, 134), released_pairs)])
def test_figures_are_the_first_faces_from_any_folder(script, name, size, faces, tmp_path, one_thread):
    folder = tmp_path / "my figures"
    folder.mkdir()
    result = grade("my figures", cwd=tmp_path, script=script)
    assert (result.returncode, result.stderr) == (0, "") and os.listdir(folder) == [name]
    with Image.open(folder / name) as picture:
        assert picture.size == size and picture.mode == "RGB" and np.asarray(picture).std() > 40
    assert grade(tmp_path / "same.png", script=script).returncode == 0
    expected = np.asarray(grid(faces(), size[0] // 66))
    assert np.abs(np.asarray(Image.open(tmp_path / "same.png")).astype(int) - expected).max() <= 1


def test_the_name_of_2019_makes_both_figures(tmp_path):
    assert grade(tmp_path, script="hw3_p1p2.sh").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["fig1_2.jpg", "fig2_2.jpg"]


@pytest.mark.parametrize("script", ["hw3_p1.sh", "hw3_p2.sh", "hw3_p1p2.sh"])
@pytest.mark.parametrize(("arguments", "says"), [
    ([], "expected one argument"), (["no/folder"], "no/folder"), ([".", "more"], "more")])
def test_bad_places_for_figures_are_one_sentence(script, arguments, says, tmp_path):
    result = grade(*arguments, cwd=tmp_path, script=script)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1 and says in result.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("script", sorted(ROOT.glob("hw3_p*.sh")), ids=lambda p: p.name)
def test_scripts_obey_the_courses_rules(script):
    code = re.sub(r"#.*", "", script.read_text())
    assert not re.search(r"(^|[;&|\s])(mkdir|cd|rm|cp|mv|pip|sudo|curl|wget)\s", code)
    assert "CUDA_VISIBLE_DEVICES" not in code and ("python3" in code or "hw3_p1.sh" in code)


@pytest.mark.parametrize("script", [*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh")], ids=lambda p: p.name)
def test_shell_scripts_parse(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
