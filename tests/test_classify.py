"""Accuracy, confusion matrix and prediction files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import CPU
from PIL import Image
from torch import nn

import adda.models
import adda.predict
import dann.models
import dann.predict
from common import classify, predict, synthetic
from common.classify import (
    confusion_matrix,
    predict_classes,
    report,
    table,
    without_batch_norm,
    write_predictions,
)
from common.cli import InputError
from scripts import score


class Brightness(nn.Module):
    """Predicts the value of the first pixel of an image as its class."""

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
    predictions = predict_classes(Brightness().eval(), images)
    figures = report(predictions, labels)
    assert figures["count"] == count
    assert figures["accuracy"] == pytest.approx(100 * (count - 1) / count)


def test_prediction_refuses_training_mode_and_keeps_statistics():
    network, images = Brightness(), torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(AssertionError):
        predict_classes(network, images)
    before = network.norm.running_mean.clone()
    predict_classes(network.eval(), images + 5)
    assert torch.equal(before, network.norm.running_mean)


@pytest.mark.parametrize("target", ["mnistm", "svhn"])
@pytest.mark.parametrize("package", [dann, adda, None])
def test_bfloat16_gives_the_classes_of_float32(package, target, monkeypatch):
    """Images whose class the rounding could change are predicted in float32. For the released networks, these
    are few, and rounding changes differences between logits by at most half of the margin."""
    images = torch.from_numpy(synthetic.digits(400, 0, target)[0]).permute(0, 3, 1, 2).contiguous()
    torch.manual_seed(0)
    network = package.predict.load_network(package.predict.released(target), CPU)[0] if package else (
        dann.models.build("default").eval())
    monkeypatch.setattr(classify, "has_bf16", lambda device: False)
    expected, counts, logits_of = predict_classes(network, images), {}, classify.logits_of

    def counted(network, images, precision):
        counts[precision] = len(images)
        return logits_of(network, images, precision)

    monkeypatch.setattr(classify, "has_bf16", lambda device: True)
    monkeypatch.setattr(classify, "logits_of", counted)
    assert torch.equal(predict_classes(network, images), expected) and counts["bf16"] == 400
    if package:
        assert counts.get("fp32", 0) < 100
        exact, rounded = (logits_of(network, images, precision) for precision in ("fp32", "bf16"))
        wrong = (exact[:, :, None] - exact[:, None, :]) - (rounded[:, :, None] - rounded[:, None, :])
        assert (wrong.abs().amax((1, 2)) < classify.MARGIN / 2 * rounded.abs().amax(1)).all()
    else:
        assert counts["fp32"] > 0


@pytest.mark.parametrize("build", [dann.models.build, lambda kind: adda.models.build(kind)[0]])
@pytest.mark.parametrize("kind", ["default", "report"])
def test_a_network_without_batchnorm_is_the_same_function(build, kind):
    """Each BatchNorm after a convolution is folded into it, without changing the original network."""
    torch.manual_seed(0)
    network, images = build(kind).eval(), torch.rand(4, 3, 28, 28)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            for values in (layer.bias, layer.running_mean):
                nn.init.normal_(values)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = without_batch_norm(network)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


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


ODD = [b"a,b.png", b"line\nend.png", b"return\r.png", b"both\r\n.png", b'q"uote.png', b'"quoted".png',
       b"=1+1.png", b" space .png", b"'.png", b"\xff\xe9.png", "数字.png".encode(),
       b"a;b\tc.png", b"n" * 251 + b".png", b"\xef\xbb\xbfmark.png", b"image_name"]


def test_names_in_any_bytes_come_back_from_the_prediction_file(tmp_path):
    names = sorted(map(os.fsdecode, ODD))
    write_predictions(tmp_path / "out.csv", names, torch.arange(len(names)) % 10)
    assert score.read(tmp_path / "out.csv") == {name: index % 10 for index, name in enumerate(names)}
    raw = (tmp_path / "out.csv").read_bytes()
    assert b"\xff\xe9.png," in raw and b'\n"a,b.png",' in raw and b"\r\n" not in raw.replace(b"both\r\n", b"")


# the prediction program

@pytest.fixture
def predicted(tmp_path, monkeypatch):
    """Run the program on tmp_path/images with a network that predicts the first pixel. Returns the rows of
    the CSV."""
    images, out, weights = tmp_path / "images", tmp_path / "out.csv", tmp_path / "w.safetensors"
    images.mkdir()
    weights.write_bytes(b"weights")
    weights.with_suffix(".json").write_text("card")

    def load(*_):
        assert images.exists()
        return Brightness().eval(), {}

    def run(*options, to=out):
        monkeypatch.setattr(sys, "argv", ["predict", str(images), "svhn", str(to), *options])
        predict.program("dann", "", load, lambda _: weights)
        return score.read(out)
    return run


def test_the_background_of_transparent_images_is_an_option(predicted, tmp_path, capsys):
    Image.new("RGBA", (28, 28), (0, 0, 0, 0)).save(tmp_path / "images/a.png")
    for colour, value in (("black", 0), ("#030405", 3), ("rgb(4, 300, 0)", 4)):
        assert predicted("--background", colour) == {"a.png": value}
    for bad in ("", "no colour", "#12", "#11223344", "1", "x" * 500):
        with pytest.raises(SystemExit) as end:
            predicted("--background", bad)
        said = capsys.readouterr().err
        assert end.value.code == 2 and "--background" in said and said.count("\n") == 1


def test_names_in_any_bytes_are_predicted(predicted, tmp_path):
    for index, name in enumerate(ODD):
        Image.new("RGB", (28, 28), (index % 10,) * 3).save(tmp_path / "images" / os.fsdecode(name), "PNG")
    assert predicted() == {os.fsdecode(name): index % 10 for index, name in enumerate(ODD)}


def test_an_input_is_never_overwritten(predicted, tmp_path, monkeypatch):
    image = tmp_path / "images/a.png"
    Image.new("RGB", (28, 28), (5, 5, 5)).save(image)
    (tmp_path / "elsewhere.png").write_bytes(image.read_bytes())
    (tmp_path / "images/link.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "out_link").symlink_to(image)
    os.link(image, tmp_path / "hard")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path / "images")
    for to in (image, Path("a.png"), Path("../images/link.png"), tmp_path / "elsewhere.png",
               tmp_path / "out_link", tmp_path / "hard", tmp_path / "w.safetensors", tmp_path / "w.json"):
        with pytest.raises(InputError, match=to.name):
            predicted(to=to)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "out.csv").write_text("an old one")
    assert predicted() == {"a.png": 5, "link.png": 5}


def test_places_that_cannot_be_written_are_refused_before_any_work(predicted, tmp_path):
    (tmp_path / "images").rmdir()  # its absence would be noticed only later
    for to in (tmp_path, tmp_path / "nowhere/out.csv", tmp_path / "w.json/out.csv"):
        with pytest.raises(InputError, match=to.parent.name):
            predicted(to=to)


# the scorer

TRUTH = "image_name,label\na.png,1\nb.png,2\nc.png,3\n"


@pytest.fixture
def scored(tmp_path, monkeypatch, capsys):
    """Score a prediction. Returns the output, or the error message."""
    def run(text, truth=TRUTH):
        for name, content in (("pred.csv", text), ("truth.csv", truth)):
            (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        monkeypatch.setattr(sys, "argv", ["score", str(tmp_path / "pred.csv"), str(tmp_path / "truth.csv")])
        try:
            score.main()
        except InputError as problem:
            return f"error: {problem}"
        return capsys.readouterr().out
    return run


def test_score_is_independent_of_the_order(scored):
    assert scored("image_name,label\r\nc.png,3.0\r\na.png, 1\r\nb.png,9\r\n") == "Accuracy: 2/3 (66.67%)\n"
    assert (scored("\ufeffimage_name,label,\n\nc.png,3,\na.png,1,\nb.png,9,\n,,\n")
            == "Accuracy: 2/3 (66.67%)\n")
    assert (scored('image_name,label\n"a,b.png",4\n', 'image_name,label\n"a,b.png",4\n')
            == "Accuracy: 1/1 (100.00%)\n")


@pytest.mark.parametrize(("text", "names"), [
    ("image_name,label\na.png,1\n", ["missing", "b.png", "c.png"]),
    (TRUTH + "d.png,4\n", ["extra", "d.png"]),
    (TRUTH + "a.png,1\n", ["duplicate", "a.png"]),
    ("a.png,1\nb.png,2\nc.png,3\n", ["image_name,label"]),
    ("", ["image_name,label"]),
    ("\0\1\2", ["pred.csv"]),
    ("image_name,label\n", ["no row"]),
    ("image_name,label\na,b.png,1\n", ["a,b.png,1"]),
    ("image_name,label\na.png\n", ["a.png"]),
    ("image_name,label\na.png,1,2\n", ["a.png,1,2"]),
    *((f"image_name,label\na.png,{label}\n", [f"a.png,{label}"[:40]]) for label in (
        "x", "2.5", "nan", "inf", "-inf", "-1", "10", "17", "1e400", "9" * 400, "1_0", "", "True")),
])
def test_score_refuses_incomplete_and_invalid_files(scored, text, names):
    said = scored(text)
    assert said.startswith("error: ") and "pred.csv" in said and all(name in said for name in names)
    if "missing" not in names and "extra" not in names:
        assert "truth.csv" in scored(TRUTH, text)


def test_fractional_labels_are_refused(scored):
    assert scored("image_name,label\na.png,2.5\n", "image_name,label\na.png,3.5\n").startswith("error")


def test_score_is_a_program(tmp_path):
    (tmp_path / "truth.csv").write_text(TRUTH)
    os.mkfifo(tmp_path / "pipe.csv")
    for name, code in (("truth.csv", 0), ("pipe.csv", 2), ("nowhere.csv", 2)):
        result = subprocess.run(
            [sys.executable, "-m", "scripts.score", tmp_path / name, tmp_path / "truth.csv"],
            capture_output=True, text=True, check=False, timeout=30)
        assert result.returncode == code and (result.stdout == "Accuracy: 3/3 (100.00%)\n") == (code == 0)
        assert result.stderr.count("\n") == (code > 0) and "Traceback" not in result.stderr
