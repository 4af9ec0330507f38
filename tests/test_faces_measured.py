"""How faces are judged: distances, pairs, copies, and the program on made-up faces."""

import json

import pytest
import torch
from conftest import call
from safetensors.torch import load_file

from common import synthetic
from common.cli import InputError
from common.weights import load_weights
from scripts.face_metrics import class_figures, detected, distances, nearest, pair_figures

pytestmark = pytest.mark.usefixtures("one_thread")


def test_distances_are_those_of_normal_distributions():
    """Fréchet distance of N(0, 1) and N(m, s²) per dimension: m² + (1 - s)²."""
    torch.manual_seed(0)
    a, b = torch.randn(20_000, 4), torch.randn(20_000, 4) * 2 + torch.tensor([3.0, 0, 0, 0])
    here = torch.randn(3000, 4)
    far, near = distances(here, b[:3000]), distances(here, a[:3000])
    assert far["FD"] == pytest.approx(9 + 4, rel=0.05) and near["FD"] < 0.01
    assert far["KD x1000"] > 100 * abs(near["KD x1000"]) and near["precision"] > 0.9 and near["recall"] > 0.9
    # narrow samples: all of them look real, and most real ones are missed
    narrow = distances(0.1 * torch.randn(1000, 4), a[:1000])
    assert narrow["precision"] > 0.9 and narrow["recall"] < 0.1


def test_pairs_count_as_flipped_when_both_sides_are_as_asked():
    columns = ["Male", "Smiling"]
    with_, without = torch.tensor([[1.0, 2], [1, 2], [1, -2], [1, 2]]), torch.tensor([[1.0, -2], [1, 2], [1, -2], [-1, -2]])
    black, white = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
    people = torch.cat([black, white, black, white])
    figures = pair_figures(torch.stack([people, people + 20]), torch.stack([with_, without]), columns, "Smiling")
    assert figures["flipped"] == 50 and figures["named with"] == 75 and figures["named without"] == 75
    assert figures["changed"] == {"Male": 25, "Smiling": 50} and figures["edit ratio"] == pytest.approx(0.1)
    low, high = figures["flipped, 95 %"]
    assert 5 < low < 50 < high < 95


def test_classes_are_compared_with_their_like():
    torch.manual_seed(0)
    test_classes = torch.arange(400) % 2
    real = torch.randn(400, 4) + 5 * test_classes[:, None]
    made = torch.stack([torch.randn(300, 4) + 5, torch.randn(300, 4)])
    sure, unsure = torch.full((2, 300), 4.0), torch.where(test_classes == 1, 1.0, 4.0)
    right = class_figures(made, sure, real, unsure, test_classes)
    wrong = class_figures(made.flip(0), sure, real, unsure, test_classes)
    assert right["with"]["FD"] < 0.5 < 50 < wrong["with"]["FD"] and right["without"]["recall"] > 0.5 > wrong["without"]["recall"]
    assert right["with"]["undecided"] == 0 and right["with"]["undecided, real"] == 100 and right["without"]["undecided, real"] == 0


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


def test_the_programs(tmp_path):
    """Judge, generator and measurement, from the command line to a released file of 16 bits."""
    synthetic.write_faces(tmp_path, "train", 60, seed=0)
    synthetic.write_faces(tmp_path, "test", 30, seed=1)
    small = ["--data", tmp_path, "--epochs", "1", "--batch", "20", "--width", "4", "--device", "cpu", "--precision", "fp32"]
    call("scripts.attributes", *small, "--run", tmp_path / "judge")
    judge = ["--judge", tmp_path / "judge/weights.safetensors"]
    card = load_weights(tmp_path / "judge/weights.safetensors")[1]
    assert set(card["metrics"]) == set(card["attributes"]) == set(synthetic.ATTRIBUTES)
    call("acgan.train", *small, "--run", tmp_path / "acgan")
    released = tmp_path / "released.safetensors"
    call("scripts.evaluate_faces", "--weights", tmp_path / "acgan/weights.safetensors", "--data", tmp_path, *judge,
         "--save", released, "--nearest", tmp_path / "nearest.png", "--json", tmp_path / "figures.json", "--device", "cpu")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["faces"] == figures["test faces"] == 30 and figures["pairs"]["pairs"] == 30
    assert set(figures["classes"]) == {"with", "without"}
    assert figures["attributes, real"]["FD"] < figures["attributes"]["FD"]
    assert load_weights(released)[1]["metrics"] == figures
    assert {tensor.dtype for tensor in load_file(released).values() if tensor.is_floating_point()} == {torch.float16}

    call("acgan.generate", "--weights", released, "--pairs", tmp_path / "pairs", "--count", 10, "--device", "cpu")
    call("scripts.evaluate_faces", "--images", tmp_path / "pairs/with", "--data", tmp_path, *judge, "--device", "cpu")
    result = call("scripts.evaluate_faces", "--images", tmp_path / "pairs/with", "--data", tmp_path, *judge, "--save", released,
                  code=2)
    assert "--weights" in result.stderr and result.stderr.count("\n") == 1


def test_a_pickled_object_is_refused(tmp_path):
    torch.save({"layers.0.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    (tmp_path / "w.json").write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        load_weights(tmp_path / "w.safetensors")
