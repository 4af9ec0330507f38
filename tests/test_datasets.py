"""Reading folders and tables, and the cache that may never serve stale images."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from common import datasets, decode
from common.cli import InputError
from common.datasets import read_attributes, read_images, read_labels, read_split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HW3_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images of digits"
    folder.mkdir()
    for number in (2, 0, 1):
        plain(folder / f"{number:05}.png", 50 * number)
    return folder


def plain(path, value, size=28, mode="RGB"):
    Image.new("RGB", (size, size), (value, value, value)).convert(mode).save(path)


def values(folder, **settings):
    images, names = read_images(folder, **settings)
    return dict(zip(names, images[:, 0, 14, 14].tolist(), strict=True))


def test_sorted_by_name_uint8_channels_first(folder):
    images, names = read_images(folder)
    assert names == ["00000.png", "00001.png", "00002.png"]
    assert images.shape == (3, 3, 28, 28) and images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 50, 100]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_modes_are_the_same_image(tmp_path, mode):
    plain(tmp_path / "a.png", 255, mode=mode)
    assert read_images(tmp_path)[0].unique().tolist() == [255]


def test_palette_colours_are_looked_up(tmp_path):
    image = Image.new("P", (28, 28), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "a.png")
    assert read_images(tmp_path)[0][0, :, 5, 5].tolist() == [200, 100, 50]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((28, 28), 0x8000, np.uint16)).save(tmp_path / "a.png")
    assert read_images(tmp_path)[0].unique().tolist() == [128]


def test_other_sizes_are_resized_with_antialiasing(tmp_path):
    checks = (np.indices((56, 56)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    plain(tmp_path / "b.png", 30, size=7)
    images, _ = read_images(tmp_path)
    # without antialiasing every second pixel of the checks would be taken: all black or all white
    assert images[0].float().mean() == pytest.approx(127, abs=3) and images[0].float().std() < 20
    assert images[1].unique().tolist() == [30]


def test_other_files_are_passed_over(folder):
    (folder / "notes.txt").write_text("no image")
    (folder / "._00000.png").write_bytes(b"left by an archiver")
    (folder / "UPPER.PNG").write_bytes((folder / "00000.png").read_bytes())
    assert read_images(folder)[1] == ["00000.png", "00001.png", "00002.png", "UPPER.PNG"]


def test_bad_folders_and_images_are_named(tmp_path, folder):
    with pytest.raises(InputError, match="nowhere"):
        read_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        read_images(tmp_path / "empty")
    with pytest.raises(InputError, match=r"00000\.png"):
        read_images(folder / "00000.png")
    whole = (folder / "00001.png").read_bytes()
    (folder / "00001.png").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match=r"00001\.png"):
        read_images(folder)


def test_decoding_on_all_cores_gives_the_same(folder, monkeypatch):
    alone = read_images(folder, cache=False)[0]
    monkeypatch.setattr(decode, "FEW", 1)
    assert torch.equal(alone, read_images(folder, cache=False)[0])
    (folder / "00001.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"00001\.png"):
        read_images(folder, cache=False)


# the cache

def test_second_read_does_not_decode(folder, monkeypatch):
    first = values(folder)
    monkeypatch.setattr(datasets, "decode", lambda *_: pytest.fail("decoded again"))
    assert values(folder) == first


def test_without_cache_nothing_is_written(folder, cache):
    values(folder, cache=False)
    assert not cache.exists()


def test_same_size_same_date_other_content_is_seen(folder):
    path = folder / "00001.png"
    before = path.stat()
    assert values(folder)["00001.png"] == 50
    plain(path, 51)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert values(folder)["00001.png"] == 51


def test_added_removed_renamed_and_swapped_files_are_seen(folder):
    values(folder)
    plain(folder / "00003.png", 9)
    assert values(folder) == {"00000.png": 0, "00001.png": 50, "00002.png": 100, "00003.png": 9}
    (folder / "00000.png").unlink()
    assert "00000.png" not in values(folder)
    (folder / "00003.png").rename(folder / "00009.png")
    assert values(folder) == {"00001.png": 50, "00002.png": 100, "00009.png": 9}
    (folder / "00001.png").rename(folder / "x")
    (folder / "00002.png").rename(folder / "00001.png")
    (folder / "x").rename(folder / "00002.png")
    assert values(folder) == {"00001.png": 100, "00002.png": 50, "00009.png": 9}


def test_change_during_decoding_is_seen_the_next_time(folder, monkeypatch):
    original = datasets.decode

    def slow(place, *rest):
        images = original(place, *rest)
        plain(folder / "00000.png", 77)
        return images

    monkeypatch.setattr(datasets, "decode", slow)
    assert values(folder)["00000.png"] == 0
    monkeypatch.setattr(datasets, "decode", original)
    assert values(folder)["00000.png"] == 77


def test_damaged_or_unwritable_cache_means_decoding_again(folder, cache, monkeypatch):
    first = values(folder)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert values(folder) == first
    file.write_bytes(b"")
    assert values(folder) == first
    blocked = cache / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("HW3_CACHE", str(blocked))
    assert values(folder) == first


def test_each_folder_and_size_has_its_own_cache(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    plain(other / "00000.png", 5)
    assert values(folder)["00000.png"] == 0 and values(other)["00000.png"] == 5
    assert read_images(folder, size=14)[0].shape[-1] == 14 and read_images(folder)[0].shape[-1] == 28


# tables

@pytest.mark.parametrize("text", [
    "image_name,label\na.png,7\nb.png,0\n",
    "image_name,label\r\na.png,7.0\r\nb.png,0.0\r\n",
    "\ufeffimage_name,label\nb.png, 0\na.png, 7 \n",
    "label,image_name\n0,b.png\n7,a.png\n7,a.png\n",
])
def test_labels_in_every_spelling(tmp_path, text):
    table = tmp_path / "train.csv"
    table.write_bytes(text.encode())
    labels = read_labels(table, ["a.png", "b.png"])
    assert labels.tolist() == [7, 0] and labels.dtype == torch.int64


def test_attributes_in_every_spelling(tmp_path):
    table = tmp_path / "train.csv"
    for yes, no in (("1", "0"), ("1.0", "0.0"), ("1", "-1")):
        table.write_text(f"image_name,Smiling,Male\na.png,{yes},{no}\nb.png,{no},{no}\n")
        attributes, columns = read_attributes(table, ["b.png", "a.png"])
        assert columns == ["Smiling", "Male"] and attributes.tolist() == [[0, 0], [1, 0]]
    table.write_text("image_name,Smiling\na.png,2\n")
    with pytest.raises(InputError, match=r"a\.png"):
        read_attributes(table, ["a.png"])


@pytest.mark.parametrize(("text", "match"), [
    ("image_name,label\na.png,1\n", r"1 images have no row, b\.png"),
    ("a.png,1\nb.png,2\n", "image_name"),
    ("image_name,label\na.png,10\nb.png,1\n", "SVHN"),
    ("image_name,label\na.png,2.5\nb.png,1\n", "2.5"),
    ("image_name,label\na.png,cat\nb.png,1\n", "cat"),
    ("image_name,label\na.png\nb.png,1\n", r"a\.png"),
    ("image_name,label\na.png,1\nb.png,1\na.png,2\n", "two rows"),
])
def test_bad_tables_are_named(tmp_path, text, match):
    table = tmp_path / "train.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=match) as error:
        read_labels(table, ["a.png", "b.png"])
    assert "train.csv" in str(error.value)


def test_rows_of_absent_images_are_passed_over_and_said(tmp_path, capsys):
    table = tmp_path / "train.csv"
    table.write_text("image_name,label\na.png,1\nb.png,2\nc.png,3\n")
    assert read_labels(table, ["b.png"]).tolist() == [2]
    assert "2 rows" in capsys.readouterr().err


def test_unlabelled_split_never_opens_its_table(tmp_path):
    folder = tmp_path / "digits/svhn/train"
    folder.mkdir(parents=True)
    plain(folder / "00000.png", 3)
    assert read_split(tmp_path, "svhn", "train", labelled=False).labels is None
    with pytest.raises(InputError, match=r"train\.csv"):
        read_split(tmp_path, "svhn", "train", labelled=True)
    with pytest.raises(InputError, match="prepare_data"):
        read_split(tmp_path, "mnistm", "train", labelled=False)


def test_square_takes_the_middle_of_a_wide_picture_and_has_a_cache_of_its_own(tmp_path):
    picture = np.zeros((30, 50, 3), np.uint8)
    picture[:, 5:45] = 200  # resizing looks a few pixels past the square
    Image.fromarray(picture).save(tmp_path / "wide.png")
    whole, _ = datasets.read_images(tmp_path, 20)
    middle, _ = datasets.read_images(tmp_path, 20, square=True)
    assert (middle == 200).all() and (whole == 0).any()
