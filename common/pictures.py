"""Decode an image file to 8-bit RGB, as an image viewer shows it. To start quickly in the processes of
`common.decode`, which run this file by path, it imports nothing of this project, and numpy only if needed."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

if __name__ == "__main__":  # started with -I -S: the folders of Pillow and numpy come as arguments
    sys.path[:] = [*sys.path, *sys.argv[4:]]

from PIL import Image, ImageChops, ImageColor, ImageOps, UnidentifiedImageError

# Recognised by the content, not the suffix. Decoding these formats never starts another program, as EPS does.
# AVIF is last because Pillow before 11.3 does not support it.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "ICO", "QOI", "SGI", "AVIF")
# their content is ambiguous, so the suffix is required
BY_SUFFIX = {".tga": "TGA", ".dib": "DIB", ".pcx": "PCX"}
SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".ppm", ".pgm", ".pbm",
            ".pnm", ".pfm", ".webp", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ico", ".qoi", ".sgi", ".avif",
            *BY_SUFFIX)
WHITE = (255, 255, 255)
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270,
         7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}


def picture(path: str, size: int, square: bool = False,
            background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Decode a file to RGB, size x size. The EXIF orientation is applied, transparent pixels are blended with
    the background, and of several frames the first is used. Colour profiles are ignored. Values of more than
    8 bits are scaled, unless all are below 256: they are then taken to be 8-bit values. Other sizes are
    resized with antialiasing, after a centre crop to a square if `square` is True. Raises Pillow's exceptions
    for damaged files, and ValueError for values of unknown scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with open_image(path) as file:
            whole = _upright(file, _opaque(file, path, background))
    if whole.size == (size, size):
        return whole
    width, height = whole.size
    half = min(width, height) / 2
    box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half) if square else None
    return whole.resize((size, size), Image.Resampling.BICUBIC, box)


def open_image(path: str) -> Any:
    """Open a file in one of the formats above with Pillow, without decoding. ValueError for other content."""
    special = BY_SUFFIX.get(os.path.splitext(path)[1].lower())
    try:
        return Image.open(path, formats=[special, *FORMATS] if special else FORMATS)
    except (UnidentifiedImageError, KeyError):  # KeyError: Pillow was built without one of the formats
        raise ValueError("it is not an image in a supported format") from None


def is_image(path: str) -> bool:
    """Whether the content of a file is recognised as an image, regardless of its name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_image(path).close()
    except Exception:  # Pillow raises many types of exceptions
        return False
    return True


def _opaque(file: Any, path: str, background: tuple[int, int, int]) -> Image.Image:
    """The image as RGB, with transparent pixels blended with the background."""
    raw, most = _stored(file)
    box = file.tile[0][1] if file.format == "GIF" else None
    if file.format == "TIFF":
        _mend_tiff(file, raw)
    file.load()
    shown: Image.Image = file
    if file.mode[0] in "IF":
        shown = _grey(file)
    elif file.mode in ("RGB", "RGBA") and ";16" in raw:
        shown = _deep_colour(file, path, raw)
    elif most > 255 and max(top for _, top in file.getextrema()) <= 1:
        raise ValueError("its 16-bit colours are all below 256, that is, nearly black; save it with 8 bits")
    elif raw in ("L;2", "L;4") and "transparency" in file.info:
        # Pillow scales the pixels to 0–255, but not this value
        file.info["transparency"] *= 85 if raw == "L;2" else 17
    elif file.mode == "1" and "transparency" in file.info:
        # scaled to 0–255 too, which Pillow before 10.3 does not do
        file.info["transparency"] = 255 if file.info["transparency"] else 0
    if shown.mode in ("La", "RGBa"):
        shown = shown.convert(shown.mode.upper())
    # the first frame of an animation may cover only a part of the canvas
    if box not in (None, (0, 0, *file.size)):
        part, shown = shown.convert("RGBA").crop(box), Image.new("RGBA", shown.size)
        shown.paste(part, box)
    if shown.mode not in ("LA", "PA", "RGBA") and "transparency" not in shown.info:
        return shown.convert("RGB")
    shown = shown.convert("RGBA")
    if file.format in ("BMP", "DIB", "TGA") and shown.getchannel("A").getextrema() == (0, 0):
        return shown.convert("RGB")  # many programs leave the fourth byte 0: not an alpha channel
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*background, 255)), shown).convert("RGB")


def _upright(file: Any, shown: Image.Image) -> Image.Image:
    """The image, oriented by its EXIF data. (For TIFF, Pillow does so itself and removes the entry.)"""
    try:
        turn = TURNS.get(file.getexif().get(274))
    except Exception:  # ignore damaged EXIF data, as image viewers do
        turn = None
    return shown if turn is None else shown.transpose(turn)


def _stored(file: Any) -> tuple[str, int]:
    """The raw mode in which the file stores its pixels (Pillow's name), and the maximum value of a colour
    PPM; "" and 0 if they are unknown."""
    values = file.tile[0][3] if file.tile else ""
    raw, *more = (values,) if isinstance(values, str) else values or ("",)
    return (raw if isinstance(raw, str) else "",
            more[0] if file.format == "PPM" and file.mode == "RGB" and more else 0)


def _store(file: Any, old: str, new: str) -> None:
    """Replace the raw mode `old`, in which Pillow assumes the pixels to be stored, by `new`."""
    def changed(tile: Any) -> Any:
        values = (new if isinstance(tile[3], str)
                  else tuple(new if value == old else value for value in tile[3]))
        # a plain tuple before Pillow 11
        return tile._replace(args=values) if hasattr(tile, "_replace") else (*tile[:3], values)

    file.tile = [changed(tile) for tile in file.tile]


def _mend_tiff(file: Any, raw: str) -> None:
    """Work around errors of Pillow: libtiff returns values in native byte order, not that of the file. Raises
    ValueError for separate 16-bit planes, which Pillow decodes wrongly."""
    native = {"F;32BF": "F;32F", "I;32BS": "I;32S", "I;16BS": "I;16S"}
    if not file.tile:
        return
    if file.tile[0][0] == "libtiff" and raw in native and sys.byteorder == "little":
        _store(file, raw, native[raw])
    elif file.tile[0][0] == "raw" and file.tag_v2.get(284) == 2 and max(file.tag_v2.get(258, (1,))) > 8:
        raise ValueError("its colours are stored as separate 16-bit planes; save it with 8 bits")


def _grey(file: Any) -> Image.Image:
    """Grey values of more than 8 bits → mode L, or LA if one value is transparent."""
    import numpy as np

    numbers = np.asarray(file)
    low, high = numbers.min(), numbers.max()
    tags = getattr(file, "tag_v2", {})  # TIFF
    if file.mode == "F" and low >= 0 and high <= 255:
        grey = np.rint(numbers * 255 if high <= 1 else numbers)
    elif file.mode != "F" and low >= 0 and high < 256:
        grey = numbers
    elif file.mode.startswith("I;") or (file.mode == "I" and file.format in ("PNG", "PPM")):
        grey = numbers >> (tags.get(258, (16,))[0] - 8)  # bits per sample: 16, or 12 in TIFF
    else:
        raise ValueError(f"its grey values range from {low:g} to {high:g}, an unknown scale; "
                         "save it with 8 bits")
    shown = Image.fromarray(grey.astype(np.uint8))
    if tags.get(262) == 0:  # WhiteIsZero
        shown = ImageOps.invert(shown)
    if isinstance(key := file.info.get("transparency"), int):
        shown.putalpha(Image.fromarray(np.where(numbers == key, 0, 255).astype(np.uint8)))
    return shown


def _deep_colour(file: Any, path: str, raw: str) -> Image.Image:
    """16-bit colours → their high bytes, which Pillow has decoded, or their low bytes if all high bytes
    are 0. The same applies to alpha."""
    key = file.info.get("transparency")
    tops = [top for _, top in file.getextrema()]
    dark, clear = not any(tops[:3]), tops[3:] == [0]
    if not (dark or clear or key):
        return file
    low = _low_bytes(path, raw)
    shown = Image.merge("RGB", (low if dark else file).split()[:3])
    if tops[3:]:
        shown.putalpha((low if clear else file).getchannel("A"))
    elif key:
        high_key, low_key = tuple(value >> 8 for value in key), tuple(value & 255 for value in key)
        apart = Image.new("L", file.size)
        for picture, colour in ((file, high_key), (low, low_key)):
            plain = Image.new("RGB", file.size, colour)
            for channel in ImageChops.difference(picture, plain).split():
                apart = ImageChops.lighter(apart, channel)
        shown.putalpha(apart.point([0] + [255] * 255))
    return shown


def _low_bytes(path: str, raw: str) -> Image.Image:
    """An image with 16-bit channels decoded in the opposite byte order: Pillow keeps the low bytes."""
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    with open_image(path) as file:
        if raw != "LA;16B":
            _store(file, raw, raw[:-1] + other[raw[-1]])
            file.load()
            return file.copy()
        # Pillow has no little-endian LA;16, so decode the four bytes as four channels
        _store(file, raw, "RGBA")
        _, value, _, alpha = file.split()
        return Image.merge("RGBA", (value, value, value, alpha))


def _serve() -> None:
    """Read paths from standard input, each followed by a zero byte, and write the pixels to standard output.
    Ends at the first image that cannot be read, and when the reader closes the pipe."""
    size, square, background = int(sys.argv[1]), sys.argv[2] == "square", ImageColor.getrgb(sys.argv[3])[:3]
    for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
        sys.stdout.buffer.write(picture(os.fsdecode(path), size, square, background).tobytes())


if __name__ == "__main__":
    _serve()
