"""Faces and pairs from trained generators: figures, folders of faces, interpolations, and errors."""

import dataclasses
import importlib
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import CPU, call, process
from PIL import Image

import acgan.generate
import acgan.models
import acgan.options
import gan.generate
import gan.models
import gan.options
from common.cli import InputError
from common.figures import check_faces, check_height, figure_path, grid, save_picture, walk
from common.weights import save_weights

pytestmark = pytest.mark.usefixtures("one_thread")
PACKAGES = [gan, acgan]
SMALL = {"width": 4, "batch": 8}


def refused(module, *arguments):
    """Run a program that fails. Returns its error message."""
    said = call(module, *arguments, code=2).stderr
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of small untrained generators, with keys "gan" and "acgan"."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for package in PACKAGES:
        torch.manual_seed(0)
        name, options = package.__name__, dataclasses.replace(package.options.preset("default"), **SMALL)
        found[name] = folder / f"{name}.safetensors"
        card = {"program": f"{name}.train", "options": dataclasses.asdict(options)}
        save_weights(found[name], package.models.Generator(4), card)
    return found


def faces_of(weights, z):
    return gan.generate.generate(gan.generate.load_generator(weights["gan"], CPU), z)


def test_figures_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    generator, z = gan.models.Generator(8).eval(), gan.models.noise(32, 0)
    alone = torch.cat([gan.generate.generate(generator, part) for part in z.split(1)])
    together = gan.generate.generate(generator, z).int()
    assert (alone.int() - together).abs().max() <= 1
    torch.set_num_threads(2)
    assert (gan.generate.generate(generator, z).int() - together).abs().max() <= 1


def test_pictures_have_the_courses_sizes(tmp_path):
    images = torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8)
    assert grid(images, 8).size == (530, 266) and grid(images[:20], 10).size == (662, 134)
    assert np.array_equal(np.asarray(grid(images, 8))[2:66, 68:132], images[1].permute(1, 2, 0))
    save_picture(tmp_path / "a.jpg", grid(images, 8))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3 and max(picture.quantization[0]) <= 12
    assert figure_path(tmp_path, "fig1_2.jpg") == tmp_path / "fig1_2.jpg"
    assert figure_path(tmp_path / "b.png", "fig1_2.jpg") == tmp_path / "b.png"
    (tmp_path / "folder.png").mkdir()
    assert figure_path(tmp_path / "folder.png", "fig1_2.jpg") == tmp_path / "folder.png/fig1_2.jpg"
    with pytest.raises(InputError, match="no/folder does not exist"):
        figure_path(tmp_path / "no/folder", "fig1_2.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file does not end in .jpg, .jpeg or .png"):
        figure_path(tmp_path / "file", "fig1_2.jpg")
    with pytest.raises(InputError, match=r"does not end in .jpg, .jpeg or .png"):
        save_picture(tmp_path / "a.bmp", grid(images, 8))


def test_a_walk_passes_through_its_noise_at_noises_length():
    z = torch.randn(3, 100)
    steps = walk(z, 5)
    torch.testing.assert_close(steps[[0, 2, 4]], z)
    assert (steps.norm(dim=1) > 0.9 * z.norm(dim=1).min()).all()


@pytest.mark.parametrize(("package", "name", "size"), [
    ("gan", "fig1_2.jpg", (530, 266)), ("acgan", "fig2_2.jpg", (662, 134))])
def test_figures_are_the_same_each_time(package, name, size, weights, tmp_path):
    arguments = (f"{package}.generate", "--weights", weights[package], "--device", "cpu",
                 "--figure", tmp_path)
    call(*arguments)
    first = (tmp_path / name).read_bytes()
    process(*arguments)
    assert Image.open(tmp_path / name).size == size and (tmp_path / name).read_bytes() == first


def test_folders_of_faces_are_never_mixed(weights, tmp_path, monkeypatch):
    """More faces than are generated at a time; a second set, which overwrites the first; and a smaller set,
    which is refused since old faces would remain."""
    monkeypatch.setattr(gan.generate, "PART", 4)
    monkeypatch.setattr(acgan.generate, "PART", 4)
    many, pairs = tmp_path / "many", tmp_path / "pairs"
    faces = ("gan.generate", "--weights", weights["gan"], "--output", many, "--count")
    both = ("acgan.generate", "--weights", weights["acgan"], "--pairs", pairs, "--count")
    call(*faces, 5)
    call(*both, 5)
    assert sorted(path.name for path in many.iterdir()) == [f"0000{n}.png" for n in range(5)]
    assert [len([*(pairs / side).iterdir()]) for side in ("with", "without")] == [5, 5]

    call(*faces, 5, "--seed", 1)
    for number, face in enumerate(faces_of(weights, gan.models.noise(5, 1))):
        assert np.array_equal(np.asarray(Image.open(many / f"0000{number}.png")), face.permute(1, 2, 0))
    old = (many / "00004.png").read_bytes()
    assert "00004.png first" in refused(*faces, 4) and "00004.png first" in refused(*both, 4)
    assert (many / "00004.png").read_bytes() == old
    (many / "notes.txt").write_text("no image")
    (many / ".hidden.png").write_text("no image that is read")
    check_faces(many, 5)
    for name in ("cat.jpg", "100000.png", "x.TIF"):
        (many / name).write_text("")
        with pytest.raises(InputError, match=f"{name} first"):
            check_faces(many, 5)
        (many / name).unlink()


def test_walks(weights, tmp_path):
    for name, count in (("walk.gif", 4), ("walk.jpg", 11), ("one.png", 1), ("strip.png", 17)):
        call("gan.generate", "--weights", weights["gan"], "--interpolate", tmp_path / name, "--count", count)
    assert (Image.open(tmp_path / "walk.gif").n_frames == 4
            and Image.open(tmp_path / "walk.jpg").size == (662, 134))
    strip = grid(faces_of(weights, walk(gan.models.noise(9, 0), 17)), 10)
    assert np.array_equal(np.asarray(strip), np.asarray(Image.open(tmp_path / "strip.png")))
    check_height(tmp_path / "long.png", 100_000, 10, 64)
    check_height(tmp_path / "long.jpg", 9_920, 10, 64)
    with pytest.raises(InputError, match=r"long.jpg.*use .png"):
        check_height(tmp_path / "long.jpg", 9_920, 10, 128)


def test_a_sheet_and_a_strip(weights, tmp_path):
    """The first faces of the sheet are those of the figure; the last and first rows of the strip are the
    pairs of the figure."""
    call("gan.generate", "--weights", weights["gan"], "--sheet", tmp_path / "sheet.png", "--count", 50,
         "--device", "cpu")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 66 + 2, 20 * 66 + 2, 3)
    expected = np.asarray(grid(faces_of(weights, gan.models.noise(50, 0)), 20))
    assert np.abs(sheet.astype(int) - expected).max() <= 1
    call("acgan.generate", "--weights", weights["acgan"], "--strip", tmp_path / "strip.png",
         "--device", "cpu")
    call("acgan.generate", "--weights", weights["acgan"], "--figure", tmp_path / "pairs.png",
         "--device", "cpu")
    strip, pairs = (np.asarray(Image.open(tmp_path / name)).astype(int)
                    for name in ("strip.png", "pairs.png"))
    assert strip.shape == (5 * 66 + 2, 10 * 66 + 2, 3)
    assert np.abs(strip[4 * 66:] - pairs[:68]).max() <= 1 and np.abs(strip[:68] - pairs[66:]).max() <= 1
    generator = acgan.generate.load_generator(weights["acgan"], torch.device("cpu"))[0]
    middle = np.asarray(
        grid(acgan.train.with_class(generator, acgan.models.noise(10, 0), 0.5), 10)).astype(int)
    assert np.abs(strip[2 * 66:3 * 66] - middle[:66]).max() <= 1
    assert "does not end in" in call("acgan.generate", "--strip", tmp_path / "strip.gif", code=2).stderr


NUMBERS = [("gan", "--output o --count -3"), ("gan", "--output o --count 0"),
           ("gan", "--output o --count 1.5"), ("gan", "--output o --count nan"),
           ("gan", "--output o --count 100001"), ("gan", "--output o --count 1" + 30 * "0"),
           ("gan", "--figure . --seed -1"), ("gan", "--figure . --seed 99999999999999999999"),
           ("gan", "--figure . --seed inf"), ("gan", "--interpolate w.gif --count 0"),
           ("acgan", "--figure . --strength nan"), ("acgan", "--figure . --strength inf"),
           ("acgan", "--figure . --strength 1e300"), ("acgan", "--pairs o --count -1"),
           ("acgan", "--figure . --seed 1e3"), ("gan", "--figure . --device meta"),
           ("gan", "--figure . --device cuda:-1"), ("acgan", "--figure . --device ''"),
           ("gan", "--figure . --count 5"), ("acgan", "--figure . --count 5")]


@pytest.mark.parametrize(("package", "arguments"), NUMBERS)
def test_numbers_out_of_range(package, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.strip("'") for argument in arguments.split()]
    assert arguments[2] in refused(f"{package}.generate", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["--sheet", "--interpolate"])
def test_a_picture_too_high_for_jpeg_is_refused_before_faces_are_generated(kind, weights, tmp_path,
                                                                           monkeypatch):
    monkeypatch.setattr(gan.generate, "generate", None)
    said = refused("gan.generate", kind, tmp_path / "x.jpg", "--weights", weights["gan"], "--count", 50_000)
    assert "a JPEG is at most" in said and not (tmp_path / "x.jpg").exists()


PLACES = [("gan", "--output {file}"), ("gan", "--output {file}/below"), ("gan", "--interpolate {file}/w.gif"),
          ("gan", "--interpolate w.mp4"), ("gan", "--interpolate w"),
          ("gan", "--interpolate {folder}/w.gif --count 3"),
          ("gan", "--figure {file}"), ("gan", "--figure {file}/f.png"),
          ("gan", "--figure nowhere"), ("gan", "--figure nowhere/f.jpg"),
          ("acgan", "--pairs {file}"), ("acgan", "--pairs {file}/below"), ("acgan", "--pairs {half}"),
          ("acgan", "--figure {file}")]


@pytest.mark.parametrize(("package", "arguments"), PLACES)
def test_output_paths_are_checked_before_the_work(package, arguments, tmp_path, monkeypatch):
    def work(*_):
        raise AssertionError("too late")

    monkeypatch.setattr(importlib.import_module(f"{package}.generate"), "load_generator", work)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder/w.gif").mkdir(parents=True)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/without").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    arguments = arguments.format(file="file", folder="folder", half="half").split()
    assert arguments[1].split("/")[0] in refused(f"{package}.generate", *arguments)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "file").read_text() == "mine"


def test_the_current_folder_takes_faces_and_figures(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ("gan.generate --output .", "acgan.generate --pairs ."):
        module, *rest = arguments.split()
        call(module, *rest, "--count", 2, "--weights", weights[module.split(".")[0]])
    assert (tmp_path / "00001.png").exists() and (tmp_path / "without/00001.png").exists()


CARDS = ["null", "[]", "[1]", "{}", "3", '"x"', "{", "", '{"program": null}', '{"program": ["gan.train"]}',
         '{"program": "gan.train"}', '{"program": "gan.train", "options": []}',
         '{"program": "gan.train", "options": {}}',
         *(f'{{"program": "gan.train", "options": {{"width": {width}}}}}'
           for width in ("-1", "0", "1.5", '"64"', "1" + 30 * "0",
                         "true", "null", "[4]", "NaN", "1e400", "8"))]


@pytest.mark.parametrize("card", CARDS)
def test_invalid_cards(card, weights, tmp_path):
    shutil.copy(weights["gan"], tmp_path / "w.safetensors")
    (tmp_path / "w.json").write_text(card)
    said = refused("gan.generate", "--figure", tmp_path, "--weights", tmp_path / "w.safetensors")
    assert str(tmp_path / "w.") in said
    assert not (tmp_path / "fig1_2.jpg").exists()


@pytest.mark.parametrize(("package", "released", "made_by"), [
    ("gan", acgan.generate.WEIGHTS, "acgan.train"), ("acgan", gan.generate.WEIGHTS, "gan.train"),
    ("gan", "scripts/weights/attributes.safetensors", "scripts.attributes")])
def test_weights_of_another_program(package, released, made_by, tmp_path):
    weights = gan.generate.WEIGHTS.parent.parent.parent / released
    said = refused(f"{package}.generate", "--figure", tmp_path, "--weights", weights)
    assert f"is of {made_by}" in said and not [*tmp_path.glob("*.jpg")]


@pytest.mark.parametrize("damage", ["nan", "cut", "other", "pickle"])
def test_damaged_weights(damage, weights, tmp_path):
    path = tmp_path / "w.safetensors"
    shutil.copy(weights["gan"].with_suffix(".json"), tmp_path / "w.json")
    card, generator = json.loads((tmp_path / "w.json").read_text()), gan.models.Generator(4)
    if damage == "nan":
        generator.layers[0].weight.data[0, 0, 0, 0] = float("nan")
        save_weights(path, generator, card)
    elif damage == "cut":
        path.write_bytes(weights["gan"].read_bytes()[:-5])
    elif damage == "other":
        save_weights(path, gan.models.Discriminator(4), card)
    else:
        torch.save(generator.state_dict(), path)
    assert "w.safetensors" in refused("gan.generate", "--figure", tmp_path, "--weights", path)
