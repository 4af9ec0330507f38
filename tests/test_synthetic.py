"""Synthetic digits and faces: complete sets or none, and other images are not overwritten."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import synthetic
from common.cli import InputError
from common.files import only_one


def build(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["synthetic", *map(str, arguments)])
    synthetic.main()


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_sets_are_there_and_the_same_again(tmp_path, monkeypatch, capsys):
    build(monkeypatch, "--to", tmp_path / "new/data", "--count", 3)
    first = content(tmp_path / "new/data")
    assert len(first) == 6 * 4 and capsys.readouterr().out.endswith("12 digits, 6 faces\n")
    assert first["digits/svhn/test.csv"].startswith(b"image_name,label\n00000.png,")
    (tmp_path / "new/data/digits/svhn/test/00001.png").write_bytes(b"damaged")
    build(monkeypatch, "--to", tmp_path / "new/data", "--count", 3)
    assert content(tmp_path / "new/data") == first


def test_other_images_are_not_overwritten(tmp_path, monkeypatch):
    build(monkeypatch, "--to", tmp_path / "data", "--count", 12)
    before = content(tmp_path)
    for other in (("--count", 11), ("--count", 13), ("--seed", 1)):
        with pytest.raises(InputError, match=r"digits/mnistm/train"):
            build(monkeypatch, "--to", tmp_path / "data", "--count", 12, *other)
    (tmp_path / "data/digits/mnistm/train/mine.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"digits/mnistm/train"):
        build(monkeypatch, "--to", tmp_path / "data", "--count", 12)
    (tmp_path / "data/digits/mnistm/train/mine.png").unlink()
    assert content(tmp_path) == before
    (tmp_path / "data/digits/mnistm/train.csv").unlink()
    with pytest.raises(InputError, match=r"digits/mnistm/train"):
        build(monkeypatch, "--to", tmp_path / "data", "--count", 12)


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_writing_leaves_no_partial_set(tmp_path, monkeypatch, problem):
    replace, calls = os.replace, []

    def some(*places):
        calls.append(places)
        if len(calls) == 3:
            raise problem
        replace(*places)

    monkeypatch.setattr(os, "replace", some)
    with pytest.raises(KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else InputError):
        synthetic.write_digits(tmp_path, "svhn", "train", 5, seed=0)
    assert content(tmp_path) == {}
    synthetic.write_digits(tmp_path, "svhn", "train", 5, seed=0)  # leftovers do not block the next attempt
    assert len(content(tmp_path)) == 6


def test_two_at_once_and_places_that_cannot_be_made(tmp_path, monkeypatch):
    with only_one(tmp_path, "busy"), pytest.raises(InputError, match="in use"):
        build(monkeypatch, "--to", tmp_path, "--count", 1)
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match="file"):
            build(monkeypatch, "--to", tmp_path / place)


@pytest.mark.parametrize(("option", "value"), [
    *(("--count", value) for value in ("0", "-3", "nan", "1e300", "100001")),
    ("--seed", "-1"), ("--seed", "9" * 20)])
def test_numbers_out_of_range_give_one_line_errors(tmp_path, monkeypatch, capsys, option, value):
    with pytest.raises(SystemExit) as end:
        build(monkeypatch, "--to", tmp_path / "data", option, value)
    said = capsys.readouterr().err
    assert (end.value.code == 2 and said.count("\n") == 1 and option in said
            and not (tmp_path / "data").exists())


def test_a_folder_that_is_a_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "digits/svhn").mkdir(parents=True)
    (tmp_path / "digits/svhn/train").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        synthetic.write_digits(tmp_path, "svhn", "train", 2, seed=0)
    assert len(os.listdir(tmp_path / "elsewhere")) == 2 and Path(tmp_path / "digits/svhn/train").is_symlink()


def test_mnistm_digits_are_the_clutter_inverted(tmp_path, monkeypatch):
    """As in the published set, all stroke pixels, even faint ones, are fully inverted, and no others."""
    strokes, walls = [], []
    stroke, texture = synthetic.stroke, synthetic.texture
    monkeypatch.setattr(synthetic, "stroke", lambda *rest: strokes.append(stroke(*rest)) or strokes[-1])
    monkeypatch.setattr(synthetic, "texture", lambda *rest: walls.append(texture(*rest)) or walls[-1])
    image = synthetic.one(8, "mnistm", np.random.default_rng(3)).astype(int)
    (ink,), (wall,) = strokes, walls
    assert 0 < ((ink > 0) & (ink < 0.3)).sum() < (ink > 0).sum()
    assert np.abs(image - 255 * np.where(ink > 0, 1 - wall, wall)).max() <= 1
    assert Image.fromarray(image.astype(np.uint8)).size == (28, 28)
