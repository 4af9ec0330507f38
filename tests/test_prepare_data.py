"""Conversion of the original files to the course's layout, on synthetic originals."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import pickle
import shutil
import sys
import tarfile
import time
import zipfile
from collections import namedtuple

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from scipy.io import savemat

from common import files
from common.cli import InputError
from scripts import originals, prepare_data, splits
from scripts.originals_mnistm import unpickle

Result = namedtuple("Result", "code out err")
BANDS = ((1, 40), (41, 100), (101, 160), (161, 220), (221, 255))  # MNIST's grey levels


def write_idx(root, stem, digits, labels):
    head = np.array([2051, *digits.shape], ">i4").tobytes()
    (root / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + digits.tobytes()))
    (root / f"{stem}-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(np.array([2049, len(labels)], ">i4").tobytes() + labels.tobytes()))


def write_svhn(path, labels):
    images = np.zeros((32, 32, 3, len(labels)), np.uint8) + (20 * np.arange(len(labels))).astype(np.uint8)
    savemat(path, {"X": images, "y": np.array(labels, np.uint8)[:, None]})


@pytest.fixture
def origin(tmp_path):
    root = tmp_path / "my originals"
    random = np.random.default_rng(0)
    for name in ("svhn", "mnist", "celeba/img_align_celeba"):
        (root / name).mkdir(parents=True)
    write_svhn(root / "svhn/train_32x32.mat", [1, 10, 3, 4, 10, 6])
    write_svhn(root / "svhn/test_32x32.mat", [10, 2])
    for stem, count in (("train", 7), ("t10k", 4)):
        digits = np.zeros((count, 28, 28), np.uint8)
        digits[:, 4:24, 12:17] = [20, 70, 130, 190, 255]  # one column of each band
        write_idx(root / "mnist", stem, digits, (np.arange(count) % 10).astype(np.uint8))
    for split, tint in (("train", 0), ("test", 1)):
        folder = root / "BSDS500/data/images" / split
        folder.mkdir(parents=True)
        for number in range(3):
            photograph = random.integers(0, 100, (40, 50, 3)) + 100 * tint
            Image.fromarray(photograph.astype(np.uint8)).save(
                folder / f"{number}.jpg", quality=100, subsampling=0)
    names = [f"{number:06}.jpg" for number in range(1, 6)]
    for number, name in enumerate(names):
        face = np.zeros((218, 178, 3), np.uint8)
        face[57:185, 25:153] = 200 + number  # exactly the region that is cropped
        Image.fromarray(face).save(root / "celeba/img_align_celeba" / name, quality=100)
    columns = ["Young", *prepare_data.ATTRIBUTES]
    rows = [[name, *("1" if c == "Smiling" and name == names[1] else "-1" for c in columns)]
            for name in names]
    (root / "celeba/list_attr_celeba.txt").write_text(
        "\n".join(["5", " ".join(columns) + " ", *map("  ".join, rows)]) + "\n")
    (root / "celeba/list_eval_partition.txt").write_text(
        "\n".join(f"{n} {p}" for n, p in zip(names, "00012", strict=True)) + "\n")
    return root


@pytest.fixture
def prepare(monkeypatch, capsys):
    """A function that runs the program in this process."""
    def call(origin, to, *more):
        monkeypatch.setattr(sys, "argv", ["prepare_data", "--from", str(origin), "--to", str(to), *more])
        try:
            prepare_data.main()
            code, problem = 0, ""
        except InputError as error:
            code, problem = 2, str(error)
        except SystemExit as left:
            code, problem = left.code, ""
        output = capsys.readouterr()
        return Result(code, output.out, problem or output.err)
    return call


@pytest.fixture
def published(tmp_path):
    """MNIST-M as published: 32x32, with the labels in a file beside the folder."""
    root = tmp_path / "mnist-m/mnist_m"
    for split, count in (("train", 7), ("test", 4)):
        (root / f"mnist_m_{split}").mkdir(parents=True)
        images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
        for index, image in enumerate(images):
            Image.fromarray(image).save(root / f"mnist_m_{split}/{index:08}.png")
        rows = [f"{index:08}.png {(3 * index + 1) % 10}\n" for index in range(count)]
        (root / f"mnist_m_{split}_labels.txt").write_text("".join(rows))
    return root.parent


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def images(root):
    """The contents of images and tables, without the notes."""
    return {name: data for name, data in contents(root).items() if name.suffix != ".json"}


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def test_whole_layout(origin, tmp_path, prepare):
    to = tmp_path / "hw3 data"
    result = prepare(origin, to)
    assert result.code == 0, result.err
    assert (to / "digits/svhn/train.csv").read_text().splitlines()[:4] == [
        "image_name,label", "00000.png,1", "00001.png,0", "00002.png,3"]
    assert [pixels(to / f"digits/svhn/train/{i:05}.png").mean() for i in range(6)] == [0, 20, 40, 60, 80, 100]
    assert (to / "digits/mnistm/test.csv").read_text() == "image_name,label\n" + "".join(
        f"{i:05}.png,{i}\n" for i in range(4))
    assert ("official: 73257" in result.out and "not the official one" in result.out
            and "0:2 1:1" in result.out)
    assert "skipped" not in result.out

    face = pixels(to / "face/train/00000.png")
    # a crop shifted by one pixel would include black pixels
    assert face.shape == (64, 64, 3) and face[1:-1, 1:-1].min() > 190 and face[:, [0, -1]].min() > 170
    table = (to / "face/train.csv").read_text().splitlines()
    assert table[0] == "image_name," + ",".join(prepare_data.ATTRIBUTES) and len(table) == 4
    smiling = prepare_data.ATTRIBUTES.index("Smiling") + 1
    assert [row.split(",")[smiling] for row in table[1:]] == ["0", "1", "0"]
    assert len(list((to / "face/test").glob("*.png"))) == 1


def test_mnistm_is_inverted_wherever_there_is_ink_as_in_the_published_set(origin, tmp_path, prepare):
    # dark photographs reveal blending with grey levels; in the published set, ink does not affect brightness
    prepare(origin, tmp_path / "to", "--only", "mnistm")
    made = np.stack([pixels(path) for path in sorted((tmp_path / "to/digits/mnistm/train").glob("*.png"))])
    digit = np.zeros((28, 28), int)
    digit[4:24, 12:17] = [20, 70, 130, 190, 255]
    profile = [made[:, (digit >= low) & (digit <= high)].mean() for low, high in BANDS]
    ground = made[:, digit == 0].mean()
    assert max(profile) - min(profile) < 6 and np.allclose(profile, 255 - ground, atol=6)

    grey = np.full((28, 28, 3), 40, np.uint8)
    blended = prepare_data.blend(digit.astype(np.uint8), grey)
    assert np.unique(blended[digit == 0]) == [40] and np.unique(blended[digit > 0]) == [215]


def test_splits_share_no_photograph(origin, tmp_path, prepare):
    assert prepare(origin, tmp_path / "to", "--only", "mnistm").code == 0
    for split, low, high in (("train", 0, 110), ("test", 90, 210)):
        for path in sorted((tmp_path / "to/digits/mnistm" / split).glob("*.png")):
            image = pixels(path)
            stroke, ground = image[4:24, 12:17], image[:, :10]
            assert ground.min() >= low and ground.max() <= high  # only photographs of this split
            assert stroke.min() >= 255 - high and stroke.max() <= 255 - low


def test_digits_blended_the_old_way_are_refused(origin, tmp_path, prepare):
    to = tmp_path / "to"
    prepare(origin, to, "--only", "mnistm")
    note = to / "digits/mnistm/.train.json"
    made = json.loads(note.read_text())
    assert made["blend"] == "binarised" and made["made_from"].endswith("-binarised")
    note.write_text(json.dumps({"made_from": made["made_from"].replace("-binarised", "")}))
    whole = contents(to)
    result = prepare(origin, to, "--only", "mnistm")
    assert result.code == 2 and "binarises" in result.err and "remove" in result.err
    assert contents(to) == whole


def test_same_bytes_after_a_stop_and_on_another_machine(origin, tmp_path, prepare):
    assert prepare(origin, tmp_path / "a").code == 0
    whole = contents(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for lost in ("digits/mnistm/train/00002.png", "digits/svhn/test/00001.png", "digits/mnistm/train.csv"):
        (tmp_path / "b" / lost).unlink()
    # left by a killed run
    for left in (".00002.png.part", ".00006.png.x_1y2z.part", "../.train.csv.x_1y2z.part"):
        (tmp_path / "b/digits/mnistm/train" / left).write_bytes(b"half")
    kept = os.stat(tmp_path / "b/digits/mnistm/train/00001.png").st_mtime_ns
    assert prepare(origin, tmp_path / "b").code == 0
    assert contents(tmp_path / "b") == whole
    assert os.stat(tmp_path / "b/digits/mnistm/train/00001.png").st_mtime_ns == kept


def test_interrupted_in_the_midst_leaves_whole_images_only(origin, tmp_path, prepare, monkeypatch):
    prepare(origin, tmp_path / "a")
    write, written = files.write, []

    def stop(path, data, tidy=True):
        if len(written) == 9:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data, tidy)

    monkeypatch.setattr(splits.files, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(origin, tmp_path / "b")
    monkeypatch.setattr(splits.files, "write", write)
    left = contents(tmp_path / "b")
    assert left and all(contents(tmp_path / "a")[name] == data for name, data in left.items())
    prepare(origin, tmp_path / "b")
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_interrupted_it_does_not_draw_to_the_end(tmp_path, monkeypatch):
    drawn = []

    def image(index):
        time.sleep(0.002)
        drawn.append(index)
        return Image.new("RGB", (28, 28))

    def interrupted(steps, total, name):
        for number, step in enumerate(steps):
            if number == 5:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(splits, "progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        splits.write_split(tmp_path / "svhn", "train",
                           splits.Split(1000, image, ["label"], [[0]] * 1000, "mark", ""))
    assert len(drawn) < 500 and not (tmp_path / "svhn/train.csv").exists()


def test_other_seed_or_originals_are_not_mixed_in(origin, tmp_path, prepare):
    to = tmp_path / "to"
    assert prepare(origin, to, "--only", "mnistm").code == 0
    whole = contents(to)
    result = prepare(origin, to, "--only", "mnistm", "--seed", "1")
    assert result.code == 2 and "another seed" in result.err
    assert contents(to) == whole
    assert prepare(origin, tmp_path / "other", "--only", "mnistm", "--seed", "1").code == 0
    assert images(tmp_path / "other") != images(to)
    (to / "digits/mnistm/.train.json").unlink()
    result = prepare(origin, to, "--only", "mnistm")
    assert result.code == 2 and "no note" in result.err


@pytest.mark.parametrize("note", [
    b"", b"null", b"[]", b"{}", b'{"made_from": 5, "blend": "binarised"}', b"\xff", b'{"made_from"'])
def test_damaged_note_is_named(origin, tmp_path, prepare, note):
    prepare(origin, tmp_path / "to", "--only", "svhn")
    (tmp_path / "to/digits/svhn/.train.json").write_bytes(note)
    whole = contents(tmp_path / "to")
    result = prepare(origin, tmp_path / "to", "--only", "svhn")
    assert result.code == 2 and ".train.json" in result.err and "remove" in result.err
    assert contents(tmp_path / "to") == whole


def test_archives_and_plain_files_give_the_same(origin, tmp_path, prepare):
    prepare(origin, tmp_path / "a")
    packed = tmp_path / "packed"
    shutil.copytree(origin, packed)
    with tarfile.open(packed / "BSR_bsds500.tgz", "w:gz") as archive:
        archive.add(packed / "BSDS500", "BSR/BSDS500")
    shutil.rmtree(packed / "BSDS500")
    with zipfile.ZipFile(packed / "archive.zip", "w") as archive:  # the name of Kaggle's archives
        for path in (packed / "celeba").rglob("*"):
            archive.write(path, path.relative_to(packed / "celeba"))
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"\0\5\x16\7")
    shutil.rmtree(packed / "celeba")
    for path in (packed / "mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    result = prepare(packed, tmp_path / "b")
    assert result.code == 0, result.err
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_files_of_systems_and_unpackers_are_ignored(origin, tmp_path, prepare):
    prepare(origin, tmp_path / "a")
    for path in [p for p in origin.rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    (origin / "__MACOSX").mkdir()
    (origin / "__MACOSX/test_32x32.mat").write_bytes(b"\0\5\x16\7Mac OS X")
    for name in ("mnist/train-images-idx3-ubyte.gz", "celeba/list_attr_celeba.txt", "svhn/train_32x32.mat"):
        (origin / name).rename(origin / "file")  # a folder named like the file in it
        (origin / name).mkdir()
        (origin / "file").rename(origin / name / (origin / name).name)
    shutil.move(origin / "celeba/img_align_celeba", tmp_path / "elsewhere")
    (origin / "celeba/img_align_celeba").mkdir()
    (origin / "celeba/img_align_celeba/img_align_celeba").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(origin)
    labels = origin / "mnist/t10k-labels-idx1-ubyte.gz"
    # decompressed by a browser, which keeps the name
    labels.write_bytes(gzip.decompress(labels.read_bytes()))
    os.mkfifo(origin / "mnist/t10k-images-idx3-ubyte")
    for name, encoding in (("list_attr_celeba.txt/list_attr_celeba.txt", "utf-16"),
                           ("list_eval_partition.txt", "utf-8-sig")):
        path = origin / "celeba" / name
        path.write_text(path.read_text().replace("\n", "\r\n"), encoding=encoding, newline="")
    result = prepare(origin, tmp_path / "b")
    assert result.code == 0, result.err
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def as_kaggle(folder):
    """Convert CelebA's lists to comma-separated tables with an index column, an unused text column, and
    trailing commas."""
    _, header, *rows = (line.split() for line in (folder / "list_attr_celeba.txt").read_text().splitlines())
    table = [["", "image_id", *header, "remark", ""],
             *([str(n), *row, "a, b; c", *[""] * (n % 2)] for n, row in enumerate(rows))]
    (folder / "list_attr_celeba.csv").write_text(
        "\n".join(",".join(f'"{cell}"' for cell in row) for row in table))
    parts = (folder / "list_eval_partition.txt").read_text().replace(" ", ",")
    (folder / "list_eval_partition.csv").write_text("image_id,partition\n" + parts)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).unlink()


def test_celeba_as_kaggle_has_it_and_as_png(origin, tmp_path, prepare):
    prepare(origin, tmp_path / "a", "--only", "face")
    as_kaggle(origin / "celeba")
    assert prepare(origin, tmp_path / "b", "--only", "face").code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    (origin / "celeba/img_align_celeba").rename(origin / "celeba/img_align_celeba_png")
    for path in (origin / "celeba/img_align_celeba_png").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    (origin / "celeba/img_celeba").mkdir()  # unaligned photographs have the same names
    for number in range(1, 9):
        Image.new("RGB", (300, 200)).save(origin / f"celeba/img_celeba/{number:06}.jpg")
    assert prepare(origin, tmp_path / "c", "--only", "face").code == 0
    assert images(tmp_path / "a") == images(tmp_path / "c")
    result = prepare(origin, tmp_path / "a", "--only", "face")
    assert result.code == 2 and "other originals" in result.err
    shutil.rmtree(origin / "celeba/img_align_celeba_png")
    result = prepare(origin, tmp_path / "d", "--only", "face")
    assert result.code == 2 and "300x200" in result.err and "img_align_celeba" in result.err


def test_a_part_of_celeba(origin, tmp_path, prepare):
    lists = origin / "celeba/list_attr_celeba.txt"
    count, header, *rows = lists.read_text().splitlines()
    (origin / "celeba/img_align_celeba/000001.jpg").unlink()
    lists.write_text("\n".join([count, header, *rows[:2], *rows[3:]]))
    result = prepare(origin, tmp_path / "to", "--only", "face")
    assert result.code == 0 and "listed, but missing: 1" in result.out
    assert "skipped, without attributes: 1" in result.out and "damaged" not in result.out
    assert len((tmp_path / "to/face/train.csv").read_text().splitlines()) == 2
    assert pixels(tmp_path / "to/face/train/00000.png").mean().round() == 201  # the second image

    at = header.split().index("Smiling") + 1
    lists.write_text("\n".join([count, "Smiling", *(f"{row.split()[0]} {row.split()[at]}" for row in rows)]))
    result = prepare(origin, tmp_path / "some", "--only", "face")
    assert (result.code == 0 and "without Bangs, Big_Lips" in result.out
            and "without attributes" not in result.out)
    assert (tmp_path / "some/face/train.csv").read_text() == "image_name,Smiling\n00000.png,1\n00001.png,0\n"
    edit(lists, "Smiling", "Male")  # the same values, as another attribute
    result = prepare(origin, tmp_path / "some", "--only", "face")
    assert result.code == 2 and "other originals" in result.err

    for path in (origin / "celeba/img_align_celeba").iterdir():
        if path.name != "000004.jpg":
            path.unlink()
    result = prepare(origin, tmp_path / "test", "--only", "face")
    assert (result.code == 0 and "face's train split is skipped" in result.out
            and (tmp_path / "test/face/test.csv").exists())


def test_other_sets_with_the_same_names_are_not_taken(origin, tmp_path, prepare):
    prepare(origin, tmp_path / "a", "--only", "mnistm")
    shutil.copytree(origin / "celeba/img_align_celeba", origin / "BSDS300/images/train")
    assert prepare(origin, tmp_path / "b", "--only", "mnistm").code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    shutil.rmtree(origin / "celeba/img_align_celeba")
    origin.rename(tmp_path / "celeba and more")
    result = prepare(tmp_path / "celeba and more", tmp_path / "c", "--only", "face")
    assert result.code == 2 and "img_align_celeba (a folder" in result.err


def test_one_of_two_files_is_prepared_and_the_other_named(origin, tmp_path, prepare):
    (origin / "svhn/test_32x32.mat").unlink()
    shutil.rmtree(origin / "BSDS500/data/images/train")
    result = prepare(origin, tmp_path / "to", "--only", "svhn", "mnistm")
    assert result.code == 0 and "svhn's test split is skipped: test_32x32.mat cannot" in result.out
    assert "mnistm's train split is skipped: BSDS500's images/train cannot" in result.out
    made = {str(name) for name in images(tmp_path / "to") if name.suffix == ".csv"}
    assert made == {"digits/svhn/train.csv", "digits/mnistm/test.csv"}


def test_missing_originals(origin, tmp_path, prepare):
    shutil.rmtree(origin / "svhn")
    result = prepare(origin, tmp_path / "to")
    assert (result.code == 0 and "svhn is skipped" in result.out
            and (tmp_path / "to/digits/mnistm/train.csv").exists())
    result = prepare(origin, tmp_path / "to", "--only", "svhn")
    assert result.code == 2 and "train_32x32.mat" in result.err and "test_32x32.mat" in result.err
    (tmp_path / "nothing").mkdir()
    assert prepare(tmp_path / "nothing", tmp_path / "to2").code == 2
    assert prepare(tmp_path / "absent", tmp_path / "to2").code == 2
    assert not (tmp_path / "to2").exists()


def test_published_mnistm_is_taken_as_it_is(published, origin, tmp_path, prepare):
    result = prepare(published, tmp_path / "a", "--only", "mnistm")
    assert result.code == 0 and "published set, 32x32" in result.out
    home = tmp_path / "a/digits/mnistm"
    expected = Image.open(published / "mnist_m/mnist_m_train/00000003.png").resize(
        (28, 28), Image.Resampling.BICUBIC)
    assert (pixels(home / "train/00003.png") == np.asarray(expected)).all()
    assert (home / "test.csv").read_text() == (
        "image_name,label\n00000.png,1\n00001.png,4\n00002.png,7\n00003.png,0\n")
    assert json.loads((home / ".train.json").read_text())["blend"] == "binarised"
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed/mnist_m.tar.gz", "w:gz") as archive:
        archive.add(published / "mnist_m", "mnist_m")
    assert prepare(tmp_path / "packed", tmp_path / "b").code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")

    (published / "mnist_m/mnist_m_test_labels.txt").unlink()
    (published / "mnist_m/mnist_m_train/00000000.png").unlink()
    result = prepare(published, tmp_path / "c", "--only", "mnistm")
    assert (result.code == 0 and "skipped: mnist_m_test_labels.txt cannot" in result.out
            and "without 1 that" in result.out)
    assert (tmp_path / "c/digits/mnistm/train.csv").read_text().splitlines()[1] == "00000.png,4"


@pytest.mark.parametrize(("protocol", "packed"), [(2, True), (5, False)])
def test_pickled_mnistm_is_read_without_executing_code(origin, tmp_path, prepare, protocol, packed):
    train, test = (np.random.default_rng(n).integers(0, 256, (n, 28, 28, 3)).astype(np.uint8) for n in (7, 4))
    data = pickle.dumps({"train": train[2:], "valid": train[:2], "test": np.asfortranarray(test)}, protocol)
    file = origin / f"keras_mnistm.pkl{'.gz' * packed}"
    file.write_bytes(gzip.compress(data) if packed else data)
    assert prepare(origin, tmp_path / "to", "--only", "mnistm").code == 0
    home = tmp_path / "to/digits/mnistm"
    for split, every in (("train", train), ("test", test)):  # in MNIST's order
        assert (np.stack([pixels(path) for path in sorted((home / split).glob("*.png"))]) == every).all()
    assert (home / "train.csv").read_text().splitlines()[7] == "00006.png,6"
    write_idx(origin / "mnist", "t10k", np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8))
    result = prepare(origin, tmp_path / "to2", "--only", "mnistm")
    assert result.code == 2 and "4 test images" in result.err and "3" in result.err
    shutil.rmtree(origin / "mnist")
    result = prepare(origin, tmp_path / "to2", "--only", "mnistm")
    assert (result.code == 2 and "keras_mnistm.pkl" in result.err
            and "train-labels-idx1-ubyte.gz" in result.err)


class Trap:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_executes_code_is_refused(origin, tmp_path, prepare, protocol):
    for trap in (Trap(os.mkdir, str(tmp_path / "run")), Trap(eval, f"open({str(tmp_path / 'run')!r}, 'w')"),
                 Trap(np.load, str(tmp_path / "run")), Trap(getattr, np.zeros(1), "dump")):
        (origin / "mnistm_data.pkl").write_bytes(
            pickle.dumps({"train": np.zeros((7, 28, 28, 3), np.uint8), "x": trap}, protocol))
        result = prepare(origin, tmp_path / "to", "--only", "mnistm")
        assert result.code == 2 and "mnistm_data.pkl uses" in result.err
        assert not (tmp_path / "run").exists()


def test_invalid_pickles_are_named(tmp_path):
    whole = pickle.dumps({"train": np.zeros((7, 28, 28, 3), np.uint8)})
    for data in (b"", b"<html>", whole[:-50], whole[:40], pickle.dumps([1]),
                 pickle.dumps({"train": np.array([None])})):
        with pytest.raises(InputError, match=r"x\.pkl.*download"):
            unpickle(tmp_path / "x.pkl", data)


@pytest.mark.parametrize("name", [
    "svhn/train_32x32.mat", "mnist/train-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
    "BSDS500/data/images/test/1.jpg", "celeba/img_align_celeba/000002.jpg", "celeba/list_attr_celeba.txt"])
def test_truncated_originals_are_named(origin, tmp_path, prepare, name):
    path = origin / name
    path.write_bytes(path.read_bytes()[:-len(path.read_bytes()) // 3])
    result = prepare(origin, tmp_path / "to")
    assert result.code == 2 and path.name in result.err and "download" in result.err


def test_damaged_archives_are_named(published, origin, tmp_path, prepare):
    for part, name in (("mnistm", "BSR_bsds500.tgz"), ("face", "img_align_celeba.zip"),
                       ("mnistm", "mnist_m.tar.gz")):
        (tmp_path / "damaged").mkdir()
        path = tmp_path / "damaged" / name
        if name.endswith("zip"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.write(origin / "celeba/img_align_celeba/000001.jpg", "img_align_celeba/000001.jpg")
        else:
            with tarfile.open(path, "w:gz") as archive:
                archive.add(published / "mnist_m", "mnist_m")
        path.write_bytes(path.read_bytes()[:-60])
        result = prepare(tmp_path / "damaged", tmp_path / "to", "--only", part)
        assert result.code == 2 and name in result.err and "download it again" in result.err
        shutil.rmtree(tmp_path / "damaged")


def test_invalid_values_are_named(origin, tmp_path, published, prepare):
    def refused(part, *words, root=origin):
        result = prepare(root, tmp_path / "to", "--only", part)
        assert result.code == 2 and all(word in result.err for word in words), result
        assert "damaged" not in result.err and not (tmp_path / "to").exists()

    write_svhn(origin / "svhn/train_32x32.mat", [1, 99])
    refused("svhn", "train_32x32.mat", "digit 1", "is 99")
    savemat(origin / "svhn/train_32x32.mat", {"X": np.zeros((14, 14, 3, 2), np.uint8), "y": [1, 2]})
    refused("svhn", "train_32x32.mat", "(14, 14, 3, 2)")
    savemat(origin / "svhn/train_32x32.mat", {"digitStruct": np.zeros(2)})
    refused("svhn", "train_32x32.mat", "cropped")
    digits = np.zeros((2, 28, 28), np.uint8)
    write_idx(origin / "mnist", "train", digits, np.array([1, 99], np.uint8))
    refused("mnistm", "train-labels-idx1-ubyte.gz", "is 99")
    write_idx(origin / "mnist", "train", digits[:, :14, :14], np.array([1, 9], np.uint8))
    refused("mnistm", "train-images-idx3-ubyte.gz", "14x14")
    write_idx(origin / "mnist", "train", digits[:1], np.array([1, 9], np.uint8))
    refused("mnistm", "train-images-idx3-ubyte.gz", "1 images", "2 labels")
    write_idx(origin / "mnist", "train", digits[:0], np.zeros(0, np.uint8))
    refused("mnistm", "train-labels-idx1-ubyte.gz", "no digits")
    write_idx(origin / "mnist", "train", digits, np.array([1, 9], np.uint8))
    file = origin / "mnist/train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + b"\0\0"))
    refused("mnistm", "train-images-idx3-ubyte.gz", "2 bytes more")
    write_idx(origin / "mnist", "train", digits, np.array([1, 9], np.uint8))
    small = origin / "BSDS500/data/images/train/1.jpg"
    Image.new("RGB", (300, 27)).save(small)
    refused("mnistm", "1.jpg", "smaller than a digit")
    shutil.copy(origin / "mnist/train-labels-idx1-ubyte.gz", origin / "mnist/train-images-idx3-ubyte.gz")
    refused("mnistm", "train-images-idx3-ubyte.gz", "IDX")
    edit(published / "mnist_m/mnist_m_train_labels.txt", ".png 4", ".png 99")
    refused("mnistm", "mnist_m_train_labels.txt", "99", root=published)
    Image.new("RGB", (64, 64)).save(published / "mnist_m/mnist_m_train/00000001.png")
    edit(published / "mnist_m/mnist_m_train_labels.txt", ".png 99", ".png 4")
    refused("mnistm", "mnist_m_train", "differ", "(64, 64, 3)", root=published)
    for path in (published / "mnist_m/mnist_m_train").iterdir():
        Image.new("RGB", (64, 64)).save(path)
    refused("mnistm", "mnist_m", "(7, 64, 64, 3)", root=published)
    edit(origin / "celeba/list_eval_partition.txt", ".jpg 1", ".jpg 5")
    refused("face", "list_eval_partition.txt", "'5'", "000004")
    edit(origin / "celeba/list_eval_partition.txt", ".jpg 5", ".jpg 1")
    # Young, which is not used
    edit(origin / "celeba/list_attr_celeba.txt", "000002.jpg  -1", "000002.jpg  7")
    refused("face", "list_attr_celeba.txt", "'7'", "Young", "000002")


def test_only_jpeg_and_png_are_opened(origin, tmp_path, prepare, monkeypatch):
    def run(*arguments, **more):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    path = origin / "celeba/img_align_celeba/000001.jpg"
    Image.open(path).save(path.with_suffix(".eps"))
    path.with_suffix(".eps").rename(path)
    assert Image.open(path).format == "EPS"
    result = prepare(origin, tmp_path / "to", "--only", "face")
    assert result.code == 2 and "000001.jpg is not a JPEG or PNG" in result.err


def test_mnist_is_known_among_sets_of_the_same_file_names(origin, tmp_path, prepare, monkeypatch):
    prepare(origin, tmp_path / "a", "--only", "mnistm")
    own = {}
    for stem in ("train", "t10k"):
        for kind, axes in (("images", 3), ("labels", 1)):
            packed = (origin / f"mnist/{stem}-{kind}-idx{axes}-ubyte.gz").read_bytes()
            own[f"{stem}-{kind}"] = hashlib.sha256(gzip.decompress(packed)).hexdigest()
    monkeypatch.setattr(originals, "MNIST_CONTENT", own)
    (origin / "fashion").mkdir()
    for stem in ("train", "t10k"):
        write_idx(origin / "fashion", stem, np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    result = prepare(origin, tmp_path / "b", "--only", "mnistm")
    assert result.code == 0 and "bit for bit" in result.out
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_one_at_a_time(origin, tmp_path, prepare):
    (tmp_path / "to").mkdir()
    with files.only_one(tmp_path / "to", "a test"):
        result = prepare(origin, tmp_path / "to")
    assert result.code == 2 and "in use" in result.err and not contents(tmp_path / "to")
    assert prepare(origin, tmp_path / "to").code == 0


def test_places_that_cannot_be_written(origin, tmp_path, prepare, monkeypatch):
    (tmp_path / "file").write_bytes(b"mine")
    for to in (tmp_path / "file", tmp_path / "file/below"):
        result = prepare(origin, to)
        assert result.code == 2 and "file" in result.err and (tmp_path / "file").read_bytes() == b"mine"

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    result = prepare(origin, tmp_path / "to")
    assert result.code == 2 and "No space left" in result.err and not contents(tmp_path / "to")


@pytest.mark.parametrize("seed", ["-1", "1.5", "nan", "99999999999999999999"])
def test_seeds_out_of_range(origin, tmp_path, prepare, seed):
    result = prepare(origin, tmp_path / "to", "--seed", seed)
    assert result.code == 2 and "--seed" in result.err and not (tmp_path / "to").exists()
