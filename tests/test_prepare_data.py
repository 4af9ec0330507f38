"""From publishers' files to the course's layout, on made-up originals."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from scripts import prepare_data


@pytest.fixture
def origin(tmp_path):
    root = tmp_path / "my originals"
    random = np.random.default_rng(0)
    (root / "svhn").mkdir(parents=True)
    for split, labels in (("train", [1, 10, 3, 4, 10, 6]), ("test", [10, 2])):
        images = np.full((32, 32, 3, len(labels)), 0, np.uint8) + (20 * np.arange(len(labels))).astype(np.uint8)
        savemat(root / f"svhn/{split}_32x32.mat", {"X": images, "y": np.array(labels, np.uint8)[:, None]})
    (root / "mnist").mkdir()
    for stem, count in (("train", 7), ("t10k", 4)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 4:24, 12:16] = 255
        head = np.array([2051, count, 28, 28], ">i4").tobytes()
        (root / f"mnist/{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (root / f"mnist/{stem}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(np.array([2049, count], ">i4").tobytes() + labels.tobytes()))
    for split, tint in (("train", 0), ("test", 1)):
        folder = root / "BSDS500/data/images" / split
        folder.mkdir(parents=True)
        for number in range(3):
            photograph = random.integers(0, 100, (40, 50, 3)) + 100 * tint
            Image.fromarray(photograph.astype(np.uint8)).save(folder / f"{number}.jpg", quality=100, subsampling=0)
    folder = root / "celeba/img_align_celeba"
    folder.mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, 6)]
    for name in names:
        face = np.zeros((218, 178, 3), np.uint8)
        face[57:185, 25:153] = 200  # exactly the crop
        Image.fromarray(face).save(folder / name, quality=100)
    columns = ["Young", *prepare_data.ATTRIBUTES]
    rows = "\n".join(f"{name} " + " ".join("1" if c == "Smiling" and name == names[1] else "-1" for c in columns) for name in names)
    (root / "celeba/list_attr_celeba.txt").write_text(f"5\n{' '.join(columns)}\n{rows}\n")
    (root / "celeba/list_eval_partition.txt").write_text("\n".join(f"{n} {p}" for n, p in zip(names, "00012", strict=True)) + "\n")
    return root


def prepare(origin, to, *more):
    return subprocess.run([sys.executable, "-m", "scripts.prepare_data", "--from", str(origin), "--to", str(to), *more],
                          capture_output=True, text=True, check=False)


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_whole_layout(origin, tmp_path):
    to = tmp_path / "hw3 data"
    result = prepare(origin, to)
    assert result.returncode == 0, result.stderr
    assert (to / "digits/svhn/train.csv").read_text().splitlines()[:4] == [
        "image_name,label", "00000.png,1", "00001.png,0", "00002.png,3"]
    assert [pixels(to / f"digits/svhn/train/{i:05}.png").mean() for i in range(6)] == [0, 20, 40, 60, 80, 100]
    assert (to / "digits/mnistm/test.csv").read_text() == "image_name,label\n" + "".join(f"{i:05}.png,{i}\n" for i in range(4))
    assert "official: 73257" in result.stdout and "not the official one" in result.stdout and "0:2 1:1" in result.stdout

    face = pixels(to / "face/train/00000.png")
    # the crop's own border is the photograph's: shifted by a pixel, black would come in
    assert face.shape == (64, 64, 3) and face[1:-1, 1:-1].min() > 190 and face[:, [0, -1]].min() > 170
    table = (to / "face/train.csv").read_text().splitlines()
    assert table[0] == "image_name," + ",".join(prepare_data.ATTRIBUTES) and len(table) == 4
    smiling = prepare_data.ATTRIBUTES.index("Smiling") + 1
    assert [row.split(",")[smiling] for row in table[1:]] == ["0", "1", "0"]
    assert len(list((to / "face/test").glob("*.png"))) == 1


def test_mnistm_is_the_difference_and_splits_share_no_photograph(origin, tmp_path):
    assert prepare(origin, tmp_path / "to", "--only", "mnistm").returncode == 0
    for split, low, high in (("train", 0, 110), ("test", 90, 210)):
        for path in sorted((tmp_path / "to/digits/mnistm" / split).glob("*.png")):
            image = pixels(path)
            stroke, ground = image[4:24, 12:16], image[:, :10]
            assert ground.min() >= low and ground.max() <= high  # of this split's photographs alone
            assert stroke.min() >= 255 - high and stroke.max() <= 255 - low


def test_same_bytes_after_a_stop_and_on_another_machine(origin, tmp_path, monkeypatch):
    assert prepare(origin, tmp_path / "a").returncode == 0
    whole = contents(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for lost in ("digits/mnistm/train/00002.png", "digits/svhn/test/00001.png", "digits/mnistm/train.csv"):
        (tmp_path / "b" / lost).unlink()
    (tmp_path / "b/digits/mnistm/train/.00002.png.part").write_bytes(b"half")  # what a killed run leaves
    kept = os.stat(tmp_path / "b/digits/mnistm/train/00001.png").st_mtime_ns
    assert prepare(origin, tmp_path / "b").returncode == 0
    assert contents(tmp_path / "b") == whole
    assert os.stat(tmp_path / "b/digits/mnistm/train/00001.png").st_mtime_ns == kept


def test_other_seed_or_originals_are_not_mixed_in(origin, tmp_path):
    to = tmp_path / "to"
    assert prepare(origin, to, "--only", "mnistm").returncode == 0
    whole = contents(to)
    result = prepare(origin, to, "--only", "mnistm", "--seed", "1")
    assert result.returncode == 2 and "another seed" in result.stderr
    assert contents(to) == whole
    assert prepare(origin, tmp_path / "other", "--only", "mnistm", "--seed", "1").returncode == 0
    assert contents(tmp_path / "other") != whole


def test_archives_and_plain_files_give_the_same(origin, tmp_path):
    prepare(origin, tmp_path / "a")
    packed = tmp_path / "packed"
    shutil.copytree(origin, packed)
    with tarfile.open(packed / "BSR_bsds500.tgz", "w:gz") as archive:
        archive.add(packed / "BSDS500", "BSR/BSDS500")
    shutil.rmtree(packed / "BSDS500")
    with zipfile.ZipFile(packed / "img_align_celeba.zip", "w") as archive:
        for path in (packed / "celeba/img_align_celeba").iterdir():
            archive.write(path, f"img_align_celeba/{path.name}")
    shutil.rmtree(packed / "celeba/img_align_celeba")
    for path in (packed / "mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    result = prepare(packed, tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", [
    "svhn/train_32x32.mat", "mnist/train-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
    "BSDS500/data/images/test/1.jpg", "celeba/img_align_celeba/000002.jpg", "celeba/list_attr_celeba.txt"])
def test_truncated_originals_are_named(origin, tmp_path, name):
    path = origin / name
    path.write_bytes(path.read_bytes()[:-len(path.read_bytes()) // 3])
    result = prepare(origin, tmp_path / "to")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert path.name in result.stderr and "fetch" in result.stderr


def test_missing_originals(origin, tmp_path):
    shutil.rmtree(origin / "svhn")
    result = prepare(origin, tmp_path / "to")
    assert result.returncode == 0 and "svhn is left out" in result.stdout and (tmp_path / "to/digits/mnistm/train.csv").exists()
    result = prepare(origin, tmp_path / "to", "--only", "svhn")
    assert result.returncode == 2 and "train_32x32.mat" in result.stderr
    (tmp_path / "nothing").mkdir()
    assert prepare(tmp_path / "nothing", tmp_path / "to2").returncode == 2
    assert prepare(tmp_path / "absent", tmp_path / "to2").returncode == 2


def test_mislabelled_idx_is_refused(origin, tmp_path):
    shutil.copy(origin / "mnist/train-labels-idx1-ubyte.gz", origin / "mnist/train-images-idx3-ubyte.gz")
    result = prepare(origin, tmp_path / "to", "--only", "mnistm")
    assert result.returncode == 2 and "train-images-idx3-ubyte.gz" in result.stderr
