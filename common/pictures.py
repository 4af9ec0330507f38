"""An image file → the picture that a viewer shows, in 8-bit RGB. Imports nothing of this project, and numpy only where it is
used: `common.decode` runs this file by its path in other processes, which are to start quickly."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

if __name__ == "__main__":  # such a process has Python's own library, and the folders that are named to it
    sys.path[:] = [*sys.path, *sys.argv[4:]]

from PIL import Image, ImageChops, ImageColor, ImageOps, UnidentifiedImageError

# Told by the content, whatever a file's name is. None of these starts another program, as EPS does. AVIF is the last, since Pillow
# before 11.3 does not know it.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "ICO", "QOI", "SGI", "AVIF")
BY_SUFFIX = {".tga": "TGA", ".dib": "DIB", ".pcx": "PCX"}  # the content alone could be another file's
SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
            ".webp", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ico", ".qoi", ".sgi", ".avif", *BY_SUFFIX)
WHITE = (255, 255, 255)
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}


def picture(path: str, size: int, square: bool = False, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """RGB, size x size, as a viewer shows the file: turned as its EXIF data say, what is transparent over the background, the first
    picture of several. Colour profiles are ignored. Values of more than 8 bits are scaled, but if all are below 256 they are
    taken for 8-bit values. Another size is resized with antialiasing, edge to edge or, with `square`, from the largest square
    about the centre. Raises what Pillow raises for damaged files, and ValueError for numbers whose scale is not known."""
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
    """Pillow's image file of one of the formats above, not yet decoded. ValueError where it is none."""
    special = BY_SUFFIX.get(os.path.splitext(path)[1].lower())
    try:
        return Image.open(path, formats=[special, *FORMATS] if special else FORMATS)
    except (UnidentifiedImageError, KeyError):  # KeyError: this Pillow was built without one of them
        raise ValueError("its content is no image, or one of a form that is not read") from None


def is_image(path: str) -> bool:
    """Whether a file's content begins as an image does, whatever its name is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_image(path).close()
    except Exception:  # Pillow raises a dozen types
        return False
    return True


def _opaque(file: Any, path: str, background: tuple[int, int, int]) -> Image.Image:
    """The file's picture as RGB, what is transparent in it over the background."""
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
        raise ValueError("its 16-bit colours are all below 256, which is black; save it with 8 bits")
    elif raw in ("L;2", "L;4") and "transparency" in file.info:
        file.info["transparency"] *= 85 if raw == "L;2" else 17  # the scale to which Pillow has brought the image
    elif file.mode == "1" and "transparency" in file.info:  # likewise, which Pillow before 10.3 forgets
        file.info["transparency"] = 255 if file.info["transparency"] else 0
    if shown.mode in ("La", "RGBa"):
        shown = shown.convert(shown.mode.upper())
    if box not in (None, (0, 0, *file.size)):  # an animation's first picture may fill a part of its frame
        part, shown = shown.convert("RGBA").crop(box), Image.new("RGBA", shown.size)
        shown.paste(part, box)
    if shown.mode not in ("LA", "PA", "RGBA") and "transparency" not in shown.info:
        return shown.convert("RGB")
    shown = shown.convert("RGBA")
    if file.format in ("BMP", "DIB", "TGA") and shown.getchannel("A").getextrema() == (0, 0):
        return shown.convert("RGB")  # many programs leave the fourth byte empty
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*background, 255)), shown).convert("RGB")


def _upright(file: Any, shown: Image.Image) -> Image.Image:
    """The picture turned as the EXIF data of its file say (TIFF's Pillow has turned, and removed the entry)."""
    try:
        turn = TURNS.get(file.getexif().get(274))
    except Exception:  # damaged EXIF data, which viewers ignore
        turn = None
    return shown if turn is None else shown.transpose(turn)


def _stored(file: Any) -> tuple[str, int]:
    """How the file stores its pixels: Pillow's name for it, and a colour PPM's largest value; "" and 0 where that is not told."""
    values = file.tile[0][3] if file.tile else ""
    raw, *more = (values,) if isinstance(values, str) else values or ("",)
    return raw if isinstance(raw, str) else "", more[0] if file.format == "PPM" and file.mode == "RGB" and more else 0


def _store(file: Any, old: str, new: str) -> None:
    """Have Pillow take the pixels to be stored otherwise than it thinks."""
    def changed(tile: Any) -> Any:
        values = new if isinstance(tile[3], str) else tuple(new if value == old else value for value in tile[3])
        return tile._replace(args=values) if hasattr(tile, "_replace") else (*tile[:3], values)  # a plain tuple before Pillow 11

    file.tile = [changed(tile) for tile in file.tile]


def _mend_tiff(file: Any, raw: str) -> None:
    """What Pillow reads wrongly: libtiff gives numbers in the machine's order of bytes, not in the file's; and planes of 16 bits,
    a ValueError here."""
    native = {"F;32BF": "F;32F", "I;32BS": "I;32S", "I;16BS": "I;16S"}
    if not file.tile:
        return
    if file.tile[0][0] == "libtiff" and raw in native and sys.byteorder == "little":
        _store(file, raw, native[raw])
    elif file.tile[0][0] == "raw" and file.tag_v2.get(284) == 2 and max(file.tag_v2.get(258, (1,))) > 8:
        raise ValueError("its colours are separate planes of 16 bits; save it with 8 bits")


def _grey(file: Any) -> Image.Image:
    """Grey values of more than 8 bits → mode L, or LA where one value is transparent."""
    import numpy as np

    numbers = np.asarray(file)
    low, high = numbers.min(), numbers.max()
    tags = getattr(file, "tag_v2", {})  # TIFF
    if file.mode == "F" and low >= 0 and high <= 255:
        grey = np.rint(numbers * 255 if high <= 1 else numbers)
    elif file.mode != "F" and low >= 0 and high < 256:
        grey = numbers
    elif file.mode.startswith("I;") or (file.mode == "I" and file.format in ("PNG", "PPM")):
        grey = numbers >> (tags.get(258, (16,))[0] - 8)  # bits a sample: 16, or TIFF's 12
    else:
        raise ValueError(f"its grey values go from {low:g} to {high:g}, which is no known scale; save it with 8 bits")
    shown = Image.fromarray(grey.astype(np.uint8))
    if tags.get(262) == 0:  # white is zero
        shown = ImageOps.invert(shown)
    if isinstance(key := file.info.get("transparency"), int):
        shown.putalpha(Image.fromarray(np.where(numbers == key, 0, 255).astype(np.uint8)))
    return shown


def _deep_colour(file: Any, path: str, raw: str) -> Image.Image:
    """Colours of 16 bits → the high bytes, which Pillow has read, or the low ones where all high ones are 0; likewise alpha."""
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
        apart = Image.new("L", file.size)
        for picture, numbers in ((file, [value >> 8 for value in key]), (low, [value & 255 for value in key])):
            for channel in ImageChops.difference(picture, Image.new("RGB", file.size, tuple(numbers))).split():
                apart = ImageChops.lighter(apart, channel)
        shown.putalpha(apart.point([0] + [255] * 255))
    return shown


def _low_bytes(path: str, raw: str) -> Image.Image:
    """A picture of 16 bits a colour, read in the other order of bytes, so that Pillow keeps the low ones."""
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    with open_image(path) as file:
        if raw != "LA;16B":
            _store(file, raw, raw[:-1] + other[raw[-1]])
            file.load()
            return file.copy()
        _store(file, raw, "RGBA")  # it has no other order: its four bytes as four channels
        _, value, _, alpha = file.split()
        return Image.merge("RGBA", (value, value, value, alpha))


def _serve() -> None:
    """Paths on standard input, a zero byte after each → the pictures' bytes on standard output. Ends at the first that cannot be
    read, and when nobody reads on."""
    size, square, background = int(sys.argv[1]), sys.argv[2] == "square", ImageColor.getrgb(sys.argv[3])[:3]
    for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
        sys.stdout.buffer.write(picture(os.fsdecode(path), size, square, background).tobytes())


if __name__ == "__main__":
    _serve()
