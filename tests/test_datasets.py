"""Reading images, folders and tables, and the cache, which must never return stale images."""

from __future__ import annotations

import ast
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from common import cores, datasets, decode, folders, pictures
from common.cli import InputError
from common.datasets import read_attributes, read_images, read_labels
from common.domains import read_split
from common.faces import read_faces

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HW3_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def no_hang():
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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
    # without antialiasing, every second pixel of the checkerboard would be used: all black or all white
    assert images[0].float().mean() == pytest.approx(127, abs=3) and images[0].float().std() < 20
    assert images[1].unique().tolist() == [30]


# images as image viewers show them

GREY = (np.arange(28 * 28) * 37 % 251).astype(np.uint8).reshape(28, 28)
ALPHA = (np.arange(28 * 28) * 53 % 256).astype(np.uint8).reshape(28, 28)
COLOUR = np.dstack([GREY, GREY.T, 255 - GREY])
CLEAR = ALPHA < 100


def png(path, values, depth, kind, key=b"", palette=b""):
    """A PNG of (H, W) or (H, W, C) values: `kind` 0 grey, 2 colour, 3 palette, 4 grey and alpha, 6 colour and
    alpha."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = values.reshape(len(values), -1)
    if depth < 8:
        bits = (rows[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = [np.packbits(row).tobytes() for row in bits.reshape(len(rows), -1)]
    else:
        packed = [row.astype(f">u{depth // 8}").tobytes() for row in rows]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
                     + (chunk(b"PLTE", palette) if palette else b"") + (chunk(b"tRNS", key) if key else b"")
                     + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in packed)))
                     + chunk(b"IEND", b""))


def shown(folder, **settings):
    """The only image of a folder, (28, 28, 3)."""
    return read_images(folder, cache=False, **settings)[0][0].permute(1, 2, 0).int().numpy()


def over(colours, alpha, background=(255, 255, 255)):
    share = alpha[:, :, None] / 255
    return (np.broadcast_to(colours.reshape(28, 28, -1), (28, 28, 3)) * share
            + np.array(background) * (1 - share))


def close(a, b):
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_a_digit_in_the_alpha_channel_is_seen(tmp_path):
    Image.fromarray(np.dstack([0 * COLOUR, ALPHA])).save(tmp_path / "a.png")
    assert close(shown(tmp_path), over(0 * COLOUR, ALPHA)) and shown(tmp_path).max() == 255
    assert close(shown(tmp_path, background=(255, 0, 10)), over(0 * COLOUR, ALPHA, (255, 0, 10)))


def test_each_background_has_its_own_cache(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGBA", (28, 28)).save(folder / "a.png")
    for colour in ((1, 2, 3), (255, 255, 255), (4, 5, 6)) * 2:
        assert read_images(folder, background=colour)[0][0, :, 3, 3].tolist() == list(colour)


@pytest.mark.parametrize("depth", [8, 16])
def test_every_form_of_transparency_in_png(tmp_path, depth):
    file, scale = tmp_path / "a.png", 257 if depth == 16 else 1
    wide, clear = np.uint16(scale), 255 * ~CLEAR
    png(file, np.dstack([COLOUR, ALPHA]) * wide, depth, 6)
    assert close(shown(tmp_path), over(COLOUR, ALPHA))
    png(file, np.dstack([GREY, ALPHA]) * wide, depth, 4)
    assert close(shown(tmp_path), over(GREY, ALPHA))
    marked = np.where(CLEAR, 7, np.where(GREY == 7, 8, GREY)) * wide
    png(file, marked, depth, 0, key=struct.pack(">H", 7 * scale))
    assert close(shown(tmp_path), over(marked // wide, clear))
    marked = np.where(CLEAR[:, :, None], 7, COLOUR // 2 + 10) * wide
    png(file, marked, depth, 2, key=struct.pack(">HHH", *[7 * scale] * 3))
    assert close(shown(tmp_path), over(marked // wide, clear))


def test_a_transparent_colour_of_16_bits_is_compared_in_all_bits(tmp_path):
    values = np.full((28, 28, 3), 0x0808, np.uint16)
    values[:14] += np.array([1, 0, 0], np.uint16)
    png(tmp_path / "a.png", values, 16, 2, key=struct.pack(">HHH", 0x0808, 0x0808, 0x0808))
    assert (shown(tmp_path)[:14] == 8).all() and (shown(tmp_path)[14:] == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_values_of_few_bits_with_and_without_a_transparent_one(tmp_path, depth):
    most = 2**depth - 1
    values = GREY.astype(int) * most // 250
    png(tmp_path / "a.png", values, depth, 0)
    assert close(shown(tmp_path), over(values * 255 // most, 0 * ALPHA + 255))
    png(tmp_path / "a.png", values, depth, 0, key=struct.pack(">H", most))
    assert close(shown(tmp_path, background=(9, 9, 9)),
                 over(values * 255 // most, 255 * (values < most), (9, 9, 9)))


def test_palettes_with_one_transparent_colour_and_with_many(tmp_path):
    palette = COLOUR.reshape(-1, 3)[40:56]
    indices = GREY % 16
    png(tmp_path / "a.png", indices, 4, 3, palette=palette.tobytes(), key=bytes(range(0, 160, 10)))
    assert close(shown(tmp_path), over(palette[indices], np.array([*range(0, 160, 10)])[indices]))
    png(tmp_path / "a.png", indices, 4, 3, palette=palette.tobytes(), key=b"\xff\xff\0\xff")
    assert close(shown(tmp_path), over(palette[indices], 255 * (indices != 2)))
    (tmp_path / "a.png").unlink()
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "a.gif", transparency=5)
    assert close(shown(tmp_path), over(palette[indices], 255 * (indices != 5)))


@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_8_bit_values_in_16_bits_are_not_black(tmp_path, kind):
    colours = COLOUR if kind in (2, 6) else GREY
    stored = np.dstack([colours, ALPHA]) if kind > 2 else colours
    png(tmp_path / "a.png", stored, 16, kind)
    assert close(shown(tmp_path), over(colours, ALPHA if kind > 2 else 0 * ALPHA + 255))
    if kind > 2:  # only the alpha channel uses the whole range
        stored = stored.astype(np.uint16)
        stored[:, :, -1] *= 257
        png(tmp_path / "a.png", stored, 16, kind)
        assert close(shown(tmp_path), over(colours, ALPHA))


def test_black_in_16_bits_stays_black(tmp_path):
    png(tmp_path / "a.png", 0 * COLOUR, 16, 2)
    assert shown(tmp_path).max() == 0


@pytest.mark.parametrize(("values", "right"), [
    (GREY.astype(np.int32), GREY), (GREY.astype(np.float32), GREY), (GREY.astype(np.float32) / 255, GREY),
    (GREY.astype(np.uint16), GREY), (GREY.astype(np.uint16) * 256, GREY),
    (GREY.astype(np.int32) * 1000, None), (GREY.astype(np.int32) - 5, None),
    (GREY.astype(np.float32) * 10, None), (GREY.astype(np.float32) / 255 - 0.1, None),
    (np.where(GREY == 1, np.nan, GREY).astype(np.float32), None)])
def test_wide_grey_values_in_tiff_have_a_known_scale_or_are_refused(tmp_path, values, right):
    for compression in (None, "tiff_lzw"):
        Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
        if right is not None:
            assert close(shown(tmp_path), over(right, 0 * ALPHA + 255))
            continue
        with pytest.raises(InputError, match=r"a\.tif .*scale"):
            read_images(tmp_path)


def test_white_is_zero_in_16_bit_tiff(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.tif", tiffinfo={262: 0})
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    at = raw.find(struct.pack("<HHI", 262, 3, 1))  # Pillow always writes 1
    raw[at + 8:at + 10] = b"\0\0"
    (tmp_path / "a.tif").write_bytes(raw)
    assert close(shown(tmp_path), over(255 - GREY, 0 * ALPHA + 255))


def tiff(path, values, order="<", deflate=False, planes=False):
    """Write a TIFF that Pillow cannot write, of (H, W, C) values, where C is 1 (grey), 3 (colour) or 4
    (colour and alpha)."""
    channels, kind = values.shape[2], {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = (values.transpose(2, 0, 1) if planes else values).astype(
        values.dtype.newbyteorder(order)).tobytes()
    length = len(data) // channels if planes else len(data)
    strips = [data[begin:begin + length] for begin in range(0, len(data), length)]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    where = [8 + sum(map(len, strips[:part])) for part in range(len(strips))]
    entries = [(256, 4, [28]), (257, 4, [28]), (258, 3, [8 * values.dtype.itemsize] * channels),
               (259, 3, [8 if deflate else 1]), (262, 3, [1 if channels == 1 else 2]), (273, 4, where),
               (277, 3, [channels]), (278, 4, [28]), (279, 4, [len(strip) for strip in strips]),
               (284, 3, [2 if planes else 1]), *([(338, 3, [2])] if channels == 4 else []),
               (339, 3, [kind] * channels)]
    head, after = b"", b""
    begin = 8 + sum(map(len, strips))
    for tag, form, numbers in entries:
        raw = struct.pack(f"{order}{len(numbers)}{'H' if form == 3 else 'I'}", *numbers)
        if len(raw) > 4:
            after, raw = after + raw, struct.pack(order + "I", begin + 2 + 12 * len(entries) + 4 + len(after))
        head += struct.pack(order + "HHI", tag, form, len(numbers)) + raw.ljust(4, b"\0")
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    path.write_bytes(mark + struct.pack(order + "I", begin) + b"".join(strips)
                     + struct.pack(order + "H", len(entries)) + head + struct.pack(order + "I", 0) + after)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_wide_tiff_in_both_orders_of_bytes(tmp_path, order, deflate):
    file, full = tmp_path / "a.tif", 0 * ALPHA + 255
    for scale in (1, 257):
        tiff(file, COLOUR.astype(np.uint16) * scale, order, deflate)
        assert close(shown(tmp_path), COLOUR)
        tiff(file, np.dstack([COLOUR, ALPHA]).astype(np.uint16) * scale, order, deflate)
        assert close(shown(tmp_path), over(COLOUR, ALPHA))
        tiff(file, GREY[:, :, None].astype(np.uint16) * scale, order, deflate)
        assert close(shown(tmp_path), over(GREY, full))
    for kind in (np.float32, np.int32, np.int16):
        tiff(file, GREY[:, :, None].astype(kind), order, deflate)
        assert close(shown(tmp_path), over(GREY, full))
    tiff(file, COLOUR, order, deflate, planes=True)
    assert close(shown(tmp_path), COLOUR)
    tiff(file, COLOUR.astype(np.uint16) * 257, order, deflate, planes=True)
    if deflate:
        assert close(shown(tmp_path), COLOUR)
    else:
        with pytest.raises(InputError, match=r"a\.tif .*planes"):
            read_images(tmp_path)


def test_16_bit_portable_maps(tmp_path):
    head = b"P%d 28 28 65535\n"
    (tmp_path / "a.pgm").write_bytes(head % 5 + GREY.astype(">u2").tobytes())
    assert close(shown(tmp_path), over(GREY, 0 * ALPHA + 255))
    (tmp_path / "a.pgm").write_bytes(head % 6 + (COLOUR.astype(">u2") * 257).tobytes())
    assert close(shown(tmp_path), COLOUR)
    (tmp_path / "a.pgm").write_bytes(head % 6 + COLOUR.astype(">u2").tobytes())
    with pytest.raises(InputError, match=r"a\.pgm .*8 bits"):
        read_images(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_pictures_are_turned_as_their_exif_data_say(tmp_path, suffix):
    picture = Image.fromarray(np.kron(COLOUR[:4, :4], np.ones((7, 7, 1))).astype(np.uint8))
    for orientation, turn in {1: None, **pictures.TURNS}.items():
        exif = Image.Exif()
        exif[274] = orientation
        settings = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
        picture.save(tmp_path / f"a.{suffix}", exif=exif, **settings)
        right = picture if turn is None else picture.transpose(turn)
        assert np.abs(shown(tmp_path) - np.asarray(right).astype(int)).max() <= 4, orientation
    if suffix == "jpg":  # damaged EXIF data do not make the image unreadable
        raw = (tmp_path / "a.jpg").read_bytes().replace(b"Exif\0\0MM\0*", b"Exif\0\0\xff\xff\xff\xff")
        (tmp_path / "a.jpg").write_bytes(raw)
        assert np.abs(shown(tmp_path) - np.asarray(picture).astype(int)).max() <= 4


def test_four_inks_and_the_first_of_several_pictures(tmp_path):
    picture, red = Image.fromarray(COLOUR // 32 * 32), Image.new("RGB", (28, 28), "red")
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(shown(tmp_path) - np.asarray(picture).astype(int)).mean() < 6
    (tmp_path / "a.jpg").unlink()
    for suffix, settings in (("webp", {"lossless": True}), ("tif", {}), ("png", {})):
        picture.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[red], **settings)
        assert close(shown(tmp_path), np.asarray(picture))
        (tmp_path / f"a.{suffix}").unlink()


def test_an_animation_whose_first_picture_fills_a_part_of_the_frame(tmp_path):
    Image.new("RGB", (14, 14), (200, 100, 50)).quantize().save(tmp_path / "a.gif")
    raw = bytearray((tmp_path / "a.gif").read_bytes())
    raw[6:10] = struct.pack("<HH", 28, 28)
    at = raw.index(b"\x2c")
    raw[at + 1:at + 5] = struct.pack("<HH", 7, 7)
    (tmp_path / "a.gif").write_bytes(raw)
    assert shown(tmp_path)[0, 0].tolist() == [255] * 3 and shown(tmp_path)[14, 14].tolist() == [200, 100, 50]


def test_an_empty_fourth_byte_is_no_transparency_in_targa(tmp_path):
    Image.fromarray(np.dstack([COLOUR, 0 * GREY])).save(tmp_path / "a.tga")
    assert close(shown(tmp_path), COLOUR)


# folders

@pytest.mark.parametrize("name", [
    "a.png", "a.jpg", "a.jfif", "a.JPE", "a.gif", "a.tif", "a.TIFF", "a.bmp", "a.webp", "a.ppm", "a.jp2",
    "a.tga", "a.pcx", "a.ico", "a.sgi", "photograph", "0001.data"])
def test_every_kind_of_image_is_read(tmp_path, name, capsys):
    form = {"photograph": "PNG", "data": "JPEG", "jfif": "JPEG", "JPE": "JPEG", "TIFF": "TIFF"}.get(
        name.split(".")[-1])
    settings = {"sizes": [(28, 28)]} if name == "a.ico" else {}
    Image.new("RGB", (28, 28), (200, 200, 200)).save(tmp_path / name, form, **settings)
    images, names = read_images(tmp_path)
    assert names == [name] and (images.int() - 200).abs().max() <= 1 and capsys.readouterr().err == ""


def test_the_content_decides_not_the_suffix(tmp_path):
    plain(tmp_path / "a.jpg", 90)
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert read_images(tmp_path)[0].unique().tolist() == [90]


def test_other_files_are_ignored_and_counted(folder, capsys):
    assert read_images(folder)[1] and capsys.readouterr().err == ""
    (folder / "notes.txt").write_text("P5 is no image\n")
    (folder / "._00000.png").write_bytes(b"left by an archiver")
    (folder / ".hidden.png").write_bytes((folder / "00000.png").read_bytes())
    (folder / "UPPER.PNG").write_bytes((folder / "00000.png").read_bytes())
    (folder / "line\nend.csv").write_text("image_name,label\n")
    assert read_images(folder)[1] == ["00000.png", "00001.png", "00002.png", "UPPER.PNG"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(folder) in said and "ignored: 4 files" in said


def test_images_in_sub_folders_are_named(folder, capsys, monkeypatch):
    for place, name in (("b/c", "0.png"), ("a", "0.png"), (".hidden", "0.png"), ("e", ".0.png")):
        (folder / place).mkdir(parents=True)
        plain(folder / place / name, 1)
    assert len(read_images(folder)[1]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "2 images in sub-folders (a, b/c)" in said
    monkeypatch.setattr(folders, "LOOK", 0)
    read_images(folder)
    assert "at least 1 image" in capsys.readouterr().err
    for name in ("00000.png", "00001.png", "00002.png"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"no image.*sub-folders"):
        read_images(folder)


def test_bad_folders_and_images_are_named(tmp_path, folder):
    with pytest.raises(InputError, match="nowhere"):
        read_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        read_images(tmp_path / "empty")
    with pytest.raises(InputError, match=r"00000\.png"):
        read_images(folder / "00000.png")
    whole = (folder / "00001.png").read_bytes()
    for damaged in (whole[:len(whole) // 2], b"", b"text", whole[:40] + b"x" + whole[41:]):
        (folder / "00001.png").write_bytes(damaged)
        with pytest.raises(InputError, match=r"00001\.png"):
            read_images(folder)


def test_no_image_starts_another_program(folder, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    Image.new("RGB", (28, 28)).save(folder / "drawing.eps")
    (folder / "drawing.eps").rename(folder / "00001.png")
    with pytest.raises(InputError, match=r"00001\.png"):
        read_images(folder)


def test_too_many_pixels_give_a_one_line_error(folder):
    for side in (10_000, 20_000):
        png(folder / "00001.png", np.zeros((1, side), int), 1, 0)
        raw = (folder / "00001.png").read_bytes()
        head = raw[12:20] + struct.pack(">I", side) + raw[24:29]
        (folder / "00001.png").write_bytes(raw[:12] + head + struct.pack(">I", zlib.crc32(head)) + raw[33:])
        with pytest.raises(InputError, match=r"00001\.png .*pixels"):
            read_images(folder)


def test_pipes_sockets_and_dead_links_are_named_and_links_to_images_read(folder, tmp_path):
    (folder / "00003.png").symlink_to(folder / "00001.png")
    assert values(folder)["00003.png"] == 50
    (folder / "link.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / ".hidden.png")
    assert len(values(folder)) == 4
    for make in (lambda path: os.mkfifo(path), lambda path: path.symlink_to("nowhere"),
                 lambda path: path.symlink_to(path.name),
                 lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
                 lambda path: path.symlink_to("/dev/zero")):
        make(folder / "x.png")
        with pytest.raises(InputError, match=r"x\.png"):
            read_images(folder)
        (folder / "x.png").unlink()


def test_names_in_any_bytes(folder):
    odd = [b"\xff\xe9.png", b"a,b.png", b"=1+1.png", b"line\nend.png", b"q\"uote.png", b"n" * 251 + b".png"]
    for name in odd:
        (folder / os.fsdecode(name)).write_bytes((folder / "00001.png").read_bytes())
    folder = folder.rename(folder.with_name(os.fsdecode(b"\xff folder")))
    for _ in range(2):  # decoded, and from the cache
        read = values(folder)
        assert ({os.fsencode(name) for name in read} >= set(odd)
                and {read[os.fsdecode(name)] for name in odd} == {50})


# decoding on several cores

@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(decode, "SHARE", 1)
    monkeypatch.setattr(datasets, "cores", lambda: 3)


def test_decoding_on_all_cores_gives_the_same(folder, monkeypatch, two_cores):
    started, received = [], []
    start, receive = decode._start, decode._receive
    monkeypatch.setattr(decode, "_start", lambda *settings: started.append(start(*settings)) or started[-1])
    monkeypatch.setattr(decode, "_receive", lambda *rest: received.append(receive(*rest)) or received[-1])
    Image.fromarray(np.dstack([COLOUR, ALPHA])).resize((40, 30)).save(folder / os.fsdecode(b"\xff.png"))
    for settings in ({}, {"square": True, "size": 20, "background": (3, 100, 200)}):
        several = read_images(folder, cache=False, **settings)[0]
        monkeypatch.setattr(datasets, "cores", lambda: 1)
        assert torch.equal(several, read_images(folder, cache=False, **settings)[0])
        monkeypatch.setattr(datasets, "cores", lambda: 3)
    assert sorted(received) == [1, 1, 2, 2]  # of four images, by two helpers, twice
    assert all(helper.poll() is not None for helper in started)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_unreadable_image_is_named_in_any_process(folder, number, two_cores):
    for broken in range(number, 3):
        (folder / f"{broken:05}.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=rf"{number:05}\.png"):
        read_images(folder, cache=False)


def test_main_process_decodes_what_helpers_cannot(folder, monkeypatch, two_cores):
    right = values(folder, cache=False)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert values(folder, cache=False) == right
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert values(folder, cache=False) == right


def test_helpers_import_neither_this_project_nor_local_modules(folder, monkeypatch, two_cores, tmp_path):
    tree = ast.parse(Path(pictures.__file__).read_text())
    imported = {name.split(".")[0] for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
                for name in ([node.module] if isinstance(node, ast.ImportFrom)
                             else [alias.name for alias in node.names])}
    assert imported == {"__future__", "os", "sys", "warnings", "typing", "PIL"}
    for name in ("os", "warnings", "PIL", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (folder / "00002.png").unlink()
    png(folder / "00002.png", GREY, 16, 0)  # needs numpy to decode
    assert len(values(folder, cache=False)) == 3 and not (tmp_path / "ran").exists()


STOPPED = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from common import decode
from common.cli import run_main
start = decode._start
def tell(*settings):
    helper = start(*settings); print(helper.pid, flush=True); return helper
decode._start, decode.SHARE = tell, 1
run_main(lambda: decode.decode(Path(sys.argv[2]), ["00001.png"] * 200_000, 28, workers=3))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_helpers_end_with_the_program(folder, number):
    program = subprocess.Popen([sys.executable, "-c", STOPPED, str(ROOT), str(folder)],
                               stdout=subprocess.PIPE, text=True)
    helpers = [int(program.stdout.readline()) for _ in range(2)]
    time.sleep(0.1)
    program.send_signal(number)
    assert program.wait(timeout=10) == (-number if number == signal.SIGKILL else 128 + number)

    def alive(pid):
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            return not stat.exists() or stat.read_text().split()[2] != "Z"  # Z: a zombie, which has ended
        except OSError:
            return False

    until = time.monotonic() + 10
    while any(map(alive, helpers)):
        assert time.monotonic() < until, "a helper lives on"
        time.sleep(0.05)
    program.stdout.close()


def test_cores_follow_the_user_the_binding_and_the_quota(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert cores.cores() == 3
    for none in ("", "0", "x", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", none)
        monkeypatch.setattr(cores, "_quota", lambda: float("inf"))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        assert cores.cores() == 8
    monkeypatch.setattr(cores, "_quota", lambda: 1.5)
    assert cores.cores() == 2
    monkeypatch.setattr(cores, "_quota", lambda: 0.1)
    assert cores.cores() == 1


def test_quota_of_both_versions(tmp_path):
    for text, grant in (("150000 100000\n", 1.5), ("max 100000\n", float("inf")), ("nonsense", float("inf"))):
        (tmp_path / "cpu.max").write_text(text)
        assert cores._granted(tmp_path) == grant
    (tmp_path / "cpu.max").unlink()
    assert cores._granted(tmp_path) == float("inf")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    for text, grant in (("400000\n", 4.0), ("-1\n", float("inf"))):
        (tmp_path / "cpu.cfs_quota_us").write_text(text)
        assert cores._granted(tmp_path) == grant


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


def test_flipped_bits_and_another_key_mean_decoding_again(folder, cache):
    first = values(folder)
    (file,) = cache.iterdir()
    raw = file.read_bytes()
    for place in (0, 33, 40, len(raw) // 2, len(raw) - 1):
        file.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1:])
        assert values(folder) == first and file.read_bytes() == raw


def test_a_pipe_or_a_folder_in_the_caches_place_is_no_cache(folder, cache):
    first = values(folder)
    (file,) = cache.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert values(folder) == first
    file.unlink()
    file.mkdir()
    assert values(folder) == first


def test_a_user_without_a_home_has_no_cache(folder, monkeypatch):
    for name in ("HW3_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 3)  # not in the user database
    assert datasets.cache_file(folder, 28) is None and values(folder)["00001.png"] == 50


def test_an_interrupted_write_leaves_nothing(folder, cache, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        values(folder)
    assert list(cache.iterdir()) == []


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
    "image_name,label\ra.png,7\rb.png,0",
    "\ufeffimage_name,label\nb.png, 0\na.png, 7 \n",
    "label,image_name\n0,b.png\n7,a.png\n7,a.png\n",
    "label, image_name\n0, b.png\n7, a.png\n",
    "image_name,label\na.png,7,\nb.png,0,\n",
    "image_name,label,\n\na.png,7,\n,,\nb.png,0\n\n",
    ",image_name,label\n0,a.png,7\n1,b.png,0\n",
    ",label\na.png,7\nb.png,0\n",
    "image_name,source,label\na.png,nan,7\nb.png,\"of, 1998\",0\n",
    "image_id;label\na.png;7\nb.png;0\n",
    "\timage_name\tlabel\n0\ta.png\t7\n1\tb.png\t0\n",
    "Filename,label\na.png,7\nb.png,0\n",
    "2\nlabel\na.png  7\nb.png -0\n",
])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_labels_in_all_formats(tmp_path, text, encoding):
    table = tmp_path / "train.csv"
    table.write_bytes(text.encode(encoding))
    labels = read_labels(table, ["a.png", "b.png"])
    assert labels.tolist() == [7, 0] and labels.dtype == torch.int64


def test_attributes_in_all_formats(tmp_path):
    table = tmp_path / "train.csv"
    for yes, no in (("1", "0"), ("1.0", "0.0"), ("1", "-1"), ("True", "False")):
        table.write_text(f"image_name,Smiling,Male\na.png,{yes},{no}\nb.png,{no},{no}\n")
        attributes, columns = read_attributes(table, ["b.png", "a.png"])
        assert columns == ["Smiling", "Male"] and attributes.tolist() == [[0, 0], [1, 0]]
    for bad in ("2", "0.5", "nan", "inf", "", "yes", "1_0"):
        table.write_text(f"image_name,Male,Smiling\na.png,1,{bad}\n")
        with pytest.raises(InputError, match=r"Smiling of a\.png"):
            read_attributes(table, ["a.png"])


def test_only_the_columns_that_are_asked_for_are_looked_at(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("image_name,Male,identity,Smiling,partition\n"
                     "a.png,1,someone,-1,2\nb.png,-1,someone,1,0\n")
    attributes, columns = read_attributes(table, ["a.png", "b.png"], ["Smiling", "Male"])
    assert columns == ["Smiling", "Male"] and attributes.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(InputError, match=r"train\.csv.*Hat"):
        read_attributes(table, ["a.png", "b.png"], ["Hat"])
    with pytest.raises(InputError, match="identity"):
        read_attributes(table, ["a.png", "b.png"])
    table.write_text(",Unnamed: 0,image_name,Male\n0,5,a.png,1\n1,6,b.png,0\n")
    assert read_attributes(table, ["a.png", "b.png"])[1] == ["Male"]


def test_a_row_that_does_not_fit_is_never_read_in_the_wrong_columns(tmp_path):
    table = tmp_path / "train.csv"
    # CelebA's list with commas for spaces
    table.write_text("image_name,A,B,C\na.png,-1,,1,-1\nb.png,,1,,1,,1\n")
    assert read_attributes(table, ["a.png", "b.png"])[0].tolist() == [[0, 1, 0], [1, 1, 1]]
    for row in ("0,a.png,1,0,1", "a.png,1,0,1,1", "a.png,,1,0,1,1"):
        table.write_text(f"image_name,A,B,C\n{row}\n")
        with pytest.raises(InputError, match=r"train\.csv.*5 values for 4"):
            read_attributes(table, ["a.png"])


@pytest.mark.parametrize(("text", "match"), [
    ("image_name,label\na.png,1\n", r"1 images have no row, b\.png"),
    ("image_name,label\na.jpg,1\nb.jpg,1\n", r"2 images have no row, a\.png first .*a\.jpg"),
    ("a.png,1\nb.png,2\n", "image_name"),
    ("", "image_name"),
    ("image_name,digit\na.png,1\nb.png,2\n", "no column 'label'"),
    ("image_name,label,label\na.png,1,2\nb.png,2,2\n", "2 columns 'label'"),
    ("image_name,label\na.png,10\nb.png,1\n", "SVHN"),
    *((f"image_name,label\na.png,{value}\nb.png,1\n", r"a\.png is '" + value) for value in (
        "2.5", "cat", "nan", "inf", "-inf", "-1", "17", "1e400", "9" * 400, "1_0", "True", "")),
    ("image_name,label\na.png\nb.png,1\n", r"a\.png"),
    ("image_name,label\na.png,1\nb.png,1\na.png,2\n", "two different rows"),
    ("image_name,label\na.png," + "1" * 200_000 + "\n", "field"),
])
def test_bad_tables_are_named(tmp_path, text, match):
    table = tmp_path / "train.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=match) as error:
        read_labels(table, ["a.png", "b.png"])
    assert "train.csv" in str(error.value)


def test_a_table_that_is_no_file_is_named(tmp_path):
    table = tmp_path / "train.csv"
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero"),
                 lambda path: path.write_bytes(b"\xff\xfe\0"),
                 lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"),
                 lambda path: path.symlink_to("nowhere")):
        make(table)
        with pytest.raises(InputError, match=r"train\.csv"):
            read_labels(table, ["a.png"])
        table.rmdir() if table.is_dir() else table.unlink()


def test_names_in_any_bytes_are_found_in_the_table(tmp_path):
    names = [b"\xff\xe9.png", b" space .png", b"a,b.png", b"line\r\nend.png", b'"q".png']
    cells = [b"\xff\xe9.png", b" space .png", b'"a,b.png"', b'"line\r\nend.png"', b'"""q"".png"']
    (tmp_path / "t.csv").write_bytes(
        b"image_name,label\n" + b"".join(cell + b",%d\n" % i for i, cell in enumerate(cells)))
    assert read_labels(tmp_path / "t.csv", [os.fsdecode(name) for name in names]).tolist() == list(range(5))


def test_the_table_of_a_folder_with_dots_in_its_name_or_without_a_name(tmp_path, monkeypatch):
    faces = tmp_path / "faces_v1.0"
    faces.mkdir()
    for name, smile in (("a.png", 1), ("b.png", 0)):
        plain(faces / name, 100 + smile)
    with pytest.raises(InputError, match=r"faces_v1\.0\.csv is not there.*faces_v1\.0"):
        read_faces(faces, "train", ["Smiling"])
    (tmp_path / "faces_v1.0.csv").write_text("image_name,Smiling\na.png,1\nb.png,-1\n")
    assert read_faces(faces, "train", ["Smiling"]).attributes.tolist() == [[1], [0]]
    monkeypatch.chdir(faces)
    assert read_faces(Path("."), "train", ["Smiling"]).attributes.tolist() == [[1], [0]]
    (faces / "below").mkdir()
    monkeypatch.chdir(faces / "below")
    assert read_faces(Path(".."), "train", ["Smiling"]).attributes.tolist() == [[1], [0]]


def test_the_time_to_read_a_table_grows_with_its_length_only(tmp_path):
    names = [f"{index:06}.png" for index in range(40_000)]
    rows = "".join(f"{name},{index % 10}\n" for index, name in enumerate([*names, "absent.png"]))
    (tmp_path / "t.csv").write_text("image_name,label\n" + rows)
    begin = time.process_time()
    assert read_labels(tmp_path / "t.csv", names).sum() == 180_000
    # building a set of 40,000 names 40,000 times would take half a minute
    assert time.process_time() - begin < 3


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
    picture[:, 5:45] = 200  # the resampling filter extends a few pixels beyond the square
    Image.fromarray(picture).save(tmp_path / "wide.png")
    whole, _ = datasets.read_images(tmp_path, 20)
    middle, _ = datasets.read_images(tmp_path, 20, square=True)
    assert (middle == 200).all() and (whole == 0).any()
