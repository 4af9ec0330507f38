"""Accuracy, confusion matrix, prediction files: traps 12 and 13 of the field."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from common.classify import confusion_matrix, predict_classes, report, table, write_predictions
from common.cli import InputError


class Brightness(nn.Module):
    """Class = value of the image's first pixel."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        self.norm(images)
        return nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 10).float()


@pytest.mark.parametrize("count", [1, 999, 10000, 26032])
def test_accuracy_divides_by_all_images_whatever_the_batch(count):
    labels = torch.arange(count) % 10
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()
    images[0] = 9  # one wrong prediction
    predictions = predict_classes(Brightness().eval(), images, batch=300)
    figures = report(predictions, labels)
    assert figures["count"] == count
    assert figures["accuracy"] == pytest.approx(100 * (count - 1) / count)


def test_prediction_refuses_training_mode_and_leaves_statistics_alone():
    network, images = Brightness(), torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(AssertionError):
        predict_classes(network, images)
    before = network.norm.running_mean.clone()
    predict_classes(network.eval(), images + 5)
    assert torch.equal(before, network.norm.running_mean)


def test_rows_of_the_confusion_matrix_are_true_classes():
    labels, predictions = torch.tensor([3, 3, 3, 5]), torch.tensor([5, 5, 3, 5])
    matrix = confusion_matrix(predictions, labels)
    assert matrix[3, 5] == 2 and matrix[5, 3] == 0 and matrix.sum() == 4
    figures = report(predictions, labels)
    assert figures["per_class"][3] == pytest.approx(100 / 3) and figures["per_class"][5] == 100
    assert figures["per_class"][0] is None and "33.33" in table(figures)
    with pytest.raises(AssertionError):
        confusion_matrix(predictions[:3], labels)


def test_prediction_file_is_sorted_integers_with_unix_lines(tmp_path):
    path = tmp_path / "out.csv"
    write_predictions(path, ["b.png", "a.png"], torch.tensor([7, 2]))
    assert path.read_bytes() == b"image_name,label\na.png,2\nb.png,7\n"
    with pytest.raises(InputError, match="nowhere"):
        write_predictions(tmp_path / "nowhere/out.csv", ["a.png"], torch.tensor([1]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv"]


TRUTH = "image_name,label\na.png,1\nb.png,2\nc.png,3\n"


def score(tmp_path, text, truth=TRUTH):
    (tmp_path / "pred.csv").write_text(text)
    (tmp_path / "truth.csv").write_text(truth)
    return subprocess.run([sys.executable, "-m", "scripts.score", tmp_path / "pred.csv", tmp_path / "truth.csv"],
                          capture_output=True, text=True, check=False)


def test_score_counts_whatever_the_order(tmp_path):
    result = score(tmp_path, "image_name,label\r\nc.png,3.0\r\na.png, 1\r\nb.png,9\r\n")
    assert (result.returncode, result.stdout) == (0, "Accuracy: 2/3 (66.67%)\n")


@pytest.mark.parametrize(("text", "names"), [
    ("image_name,label\na.png,1\n", ["missing", "b.png", "c.png"]),
    (TRUTH + "d.png,4\n", ["extra", "d.png"]),
    (TRUTH + "a.png,1\n", ["double", "a.png"]),
    ("a.png,1\nb.png,2\nc.png,3\n", ["image_name,label"]),
    ("", ["image_name,label"]),
    ("image_name,label\n", ["no row"]),
    ("image_name,label\na.png,x\n", ["a.png,x"]),
])
def test_score_refuses_what_is_not_whole(tmp_path, text, names):
    result = score(tmp_path, text)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "pred.csv" in result.stderr and all(name in result.stderr for name in names)
