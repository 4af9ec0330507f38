"""Domains of one's own: any folder of images with a table, instead of MNIST-M or SVHN."""

import csv
import json
import shutil

import pytest
import torch
from conftest import CPU, call

from common.cli import InputError
from common.datasets import DIGITS, read_classes, read_labels
from common.domains import Data, pair, read_split
from common.views import Augmentation, towards

WORDS = ("ant", "bee", "cat")
TINY = ["--width", "4", "--batch", "16", "--held-out", "10", "--device", "cpu", "--precision", "fp32"]
pytestmark = pytest.mark.usefixtures("one_thread")


def rewrite(table, names=WORDS):
    """The digits' table with words in their place."""
    rows = list(csv.DictReader(table.open()))
    lines = [f"{row['image_name']},{names[int(row['label']) % len(names)]}" for row in rows]
    table.write_text("\n".join(["image_name,label", *lines]) + "\n")


@pytest.fixture(scope="module")
def own(root, tmp_path_factory):
    """Two folders of images in three classes; the target's training images have no table."""
    folder = tmp_path_factory.mktemp("own folders")
    for domain, name in (("mnistm", "drawn"), ("svhn", "photographs")):
        shutil.copytree(root / "digits" / domain, folder / name)
        for split in ("train", "test"):
            rewrite(folder / name / f"{split}.csv")
    (folder / "photographs/train.csv").unlink()
    return folder


@pytest.mark.parametrize(("package", "method", "length"), [
    ("dann", "dann", ["--steps", "4"]), ("dann", "source-only", ["--steps", "4", "--network", "report"]),
    ("adda", "adda+st", ["--source-steps", "2", "--adversarial-steps", "2", "--self-training-steps", "2"]),
    ("adda", "adda", ["--preset", "report", "--source-steps", "3", "--adversarial-steps", "2"])])
def test_a_network_is_trained_measured_and_used_between_own_folders(package, method, length, own, tmp_path):
    run = tmp_path / "run"
    call(f"{package}.train", "--method", method, "--source", own / "drawn", "--target", own / "photographs",
         "--run", run, *length, *TINY)
    card = json.loads((run / "weights.json").read_text())
    assert card["classes"] == [*WORDS] and f"--source '{own}/drawn'" in card["command"]
    weights = ["--weights", run / "weights.safetensors"]
    for domain, count in ((own / "photographs", 90), (own / "drawn", 120)):
        measured = call(f"{package}.evaluate", *weights, *([] if count == 90 else ["--domain", domain]),
                        "--json", tmp_path / "measured.json")
        figures = json.loads((tmp_path / "measured.json").read_text())[f"{domain} test"]
        assert figures["count"] == count and len(figures["confusion"]) == 3 and "as bee" in measured.stdout
    call(f"{package}.predict", own / "photographs/test", "photographs", tmp_path / "out.csv", *weights)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 90 and {row["label"] for row in rows} <= set(WORDS)


def test_own_folders_can_be_drawn_and_resumed(own, tmp_path):
    run = tmp_path / "run"
    call("dann.train", "--source", own / "drawn", "--target", own / "photographs", "--run", run,
         "--steps", "3", *TINY)
    call("dann.train", "--resume", run)
    call("dann.visualize", "--weights", run / "weights.safetensors", "--output", tmp_path / "tsne.png",
         "--count", "12")
    points = json.loads((tmp_path / "tsne.json").read_text())
    assert {*points["digit"]} == {0, 1, 2} and (tmp_path / "tsne_domain.png").exists()


def test_the_two_known_domains_go_with_own_folders(root, own, tmp_path):
    """MNIST-M and a folder of one's own: the classes are MNIST-M's digits."""
    target = tmp_path / "mine"
    shutil.copytree(root / "digits/svhn", target)
    (target / "train.csv").write_text("no table at all")
    call("dann.train", "--data", root, "--source", "mnistm", "--target", target, "--run", tmp_path / "run",
         "--steps", "2", *TINY)
    assert json.loads((tmp_path / "run/weights.json").read_text())["classes"] == [*DIGITS]
    call("dann.evaluate", "--weights", tmp_path / "run/weights.safetensors", "--data", root)
    rewrite(target / "test.csv")
    answer = call("dann.evaluate", "--weights", tmp_path / "run/weights.safetensors", "--data", root, code=2)
    assert "not a digit from 0 to 9" in answer.stderr and str(target / "test.csv") in answer.stderr


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_is_not_divided_is_taken_whole(inside, root, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(root / "digits/mnistm/test", whole)
    shutil.copy(root / "digits/mnistm/test.csv", whole / "labels.csv" if inside else tmp_path / "whole.csv")
    for split in ("train", "test"):
        found = read_split(root, str(whole), split, labelled=True)
        assert found.classes == DIGITS and len(found.images) == 120
        assert torch.equal(found.labels, read_split(root, "mnistm", "test", labelled=True).labels)


@pytest.mark.parametrize(("labels", "classes"), [
    ("b a b c", ("a", "b", "c")), ("10 9 2 10", ("2", "9", "10")), ("1.0 3.0 1.0 2.5", ("1", "2.5", "3")),
    ("10 nine 2 2", ("10", "2", "nine"))])
def test_classes_are_the_different_labels_in_a_fixed_order(labels, classes, tmp_path):
    names = [f"{n}.png" for n in range(4)]
    rows = [f"{name},{label}" for name, label in zip(names, labels.split(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["image_name,label", *rows]))
    found = read_classes(tmp_path / "t.csv", names)
    assert found == classes
    places = read_labels(tmp_path / "t.csv", names, found).tolist()
    assert [found[place] for place in places] == [label.removesuffix(".0") for label in labels.split()]


def test_folders_are_kept_as_absolute_paths(own, tmp_path, monkeypatch):
    """A run is resumed and measured from another working directory, and `a` and `a/` are one domain."""
    monkeypatch.chdir(own)
    length = ["--steps", "2", *TINY]
    call("dann.train", "--source", "drawn", "--target", "photographs/", "--run", tmp_path / "run", *length)
    assert "name two domains" in call("dann.train", "--source", "drawn", "--target", "drawn/", *length,
                                      code=2).stderr
    call("dann.train", "--source", "drawn", "--resume", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    call("dann.train", "--resume", tmp_path / "run")
    call("dann.evaluate", "--weights", tmp_path / "run/weights.safetensors")


@pytest.mark.parametrize(("labels", "says"), [
    ("a a a", "all images have the label 'a'"), ("a b ", "2.png has no label"),
    ("1.0 nan 2.0", "1.png has no label")])
def test_labels_from_which_nothing_can_be_learned(labels, says, tmp_path):
    rows = [f"{n}.png,{label}" for n, label in enumerate(labels.split(" "))]
    (tmp_path / "t.csv").write_text("\n".join(["image_name,label", *rows]))
    with pytest.raises(InputError, match=says):
        read_classes(tmp_path / "t.csv", ["0.png", "1.png", "2.png"])


@pytest.mark.parametrize(("arguments", "says"), [
    (["--source", "mnist"], "needs a --target"),
    (["--source", "mnist", "--target", "svhn"], "neither mnistm nor svhn nor a folder"),
    (["--source", "{own}/drawn", "--target", "{own}/drawn"], "name two domains"),
    (["--source", "{own}/photographs", "--target", "{own}/drawn"], "train.csv is not there"),
    (["--source", "{own}", "--target", "{own}/drawn"], "holds no image")])
def test_what_is_no_domain_is_one_sentence(arguments, says, own, root, tmp_path):
    given = [argument.format(own=own) for argument in arguments]
    answer = call("dann.train", "--data", root, *given, "--run", tmp_path / "run", code=2)
    assert says in answer.stderr and "Traceback" not in answer.stderr


def test_a_split_that_is_missing_is_named(own, tmp_path):
    shutil.copytree(own / "drawn/train", tmp_path / "half/train")
    with pytest.raises(InputError, match=r"half/test does not exist; put the test images there"):
        read_split(tmp_path, str(tmp_path / "half"), "test", labelled=True)


def test_a_target_outside_the_two_domains_needs_weights(own, tmp_path):
    answer = call("dann.predict", own / "photographs/test", "photographs", tmp_path / "out.csv", code=2)
    assert ("'photographs'" in answer.stderr and "--weights" in answer.stderr
            and not (tmp_path / "out.csv").exists())


def test_one_of_the_two_domains_is_enough_to_know_the_other():
    assert (pair(None, None) == ("mnistm", "svhn")
            and pair("svhn", None) == pair(None, "mnistm") == ("svhn", "mnistm"))
    assert pair(None, "mine") == ("mnistm", "mine")
    assert towards("mnistm", "svhn") == {} and towards("mnistm", "mine")["neighbours"] == 0
    assert {*towards("svhn", "mnistm"), *towards("a", "b")} <= {*Augmentation.__dataclass_fields__}


def test_the_targets_table_is_never_opened(own, tmp_path):
    copied = tmp_path / "photographs"
    shutil.copytree(own / "photographs", copied)
    (copied / "train.csv").mkdir()  # whoever opened it would fail
    data = Data(tmp_path, str(own / "drawn"), str(copied), 10, CPU)
    assert len(data.unlabelled) == 90 and data.classes == WORDS
