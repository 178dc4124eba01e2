"""Pictures of any size and colour become images of one shape, by the policy that serving applies to what clients send.

The format is told by the bytes, whatever the file's name. Of an animation, the first frame is used. The picture takes
the model's colours, transparent parts black, is turned upright as the camera held it, and takes the model's size:
bilinear, widened when shrinking so that every pixel counts; the whole picture fills the frame, its proportions are not
kept.
`serving/fitting.py` says the same in code of its own; `tests/test_decoding.py` holds the two equal.
"""

from __future__ import annotations

import io
import mimetypes
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  # or Pillow would import all of its plugins

from trainer.data.dataset import DataError

Shape = tuple[int, int, int]

# Pictures keep their size where all have one, of at most so many pixels a side; others are brought to this side.
LARGEST_SIDE = 96
USUAL_SIDE = 64
COLOURS = {1: "L", 3: "RGB"}
GREY = {"1", "L", "LA", "I;16", "I;16B"}
# All of 8 or 16 bits a colour: files do not say which shades 32-bit or fractional values stand for.
MODES = GREY | {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
TAKEN = "PNG, JPEG, GIF, BMP, WebP or TIFF"
BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
# Pictures that not every system's list of media types knows.
MORE_SUFFIXES = {".webp", ".jp2", ".jxl", ".psd", ".tga", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
# Of TIFF, what scanners and cameras write; of BMP, what TensorFlow reads, too.
COMPRESSIONS: dict[str, set[object]] = {
    "TIFF": {
        "raw",
        "tiff_ccitt",
        "group3",
        "group4",
        "tiff_lzw",
        "jpeg",
        "tiff_adobe_deflate",
        "tiff_deflate",
        "packbits",
    },
    "BMP": {0, 3},
}
# To save memory, large pictures are reduced by averaging before anything else, to sides that are no shorter than this.
SIDE = 1024
TILE = 512  # pixels a side that are converted at a time, for the same reason
SMALL = 2**20  # pixels; smaller pictures are converted in one go, which is faster
ORIENTATION = 0x0112  # EXIF's tag, a number of type 3
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shape_for(size: Sequence[int] | None, channels: int, image_size: int) -> Shape:
    """The shape that pictures are brought to.

    Args:
        size: height and width where all have the same; None where they differ.
        channels: 1 where all are grey.
        image_size: the side that was asked for; 0 leaves it to the policy.
    """
    if image_size:
        height = width = image_size
    elif size and max(size) <= LARGEST_SIDE:
        height, width = size
    else:
        height = width = USUAL_SIDE
    return height, width, 1 if channels == 1 else 3


def format_of(path: Path) -> str | None:
    """The format of a file that can be read, by how its bytes begin; None for all others."""
    with path.open("rb") as file:
        return _format_of(file.read(16))


def _format_of(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for beginning, name in BEGINNINGS.items() if head.startswith(beginning)), None)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name or its bytes; it may be one that cannot be read."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    named_so = kind.startswith("image/") or path.suffix.lower() in MORE_SUFFIXES
    return named_so or (path.is_file() and format_of(path) is not None)


def is_readable(path: Path) -> bool:
    """Whether a file is a picture of a format that is read; it may be broken."""
    return path.suffix.lower() in SUFFIXES or format_of(path) is not None


def read(path: Path, shape: Shape) -> np.ndarray:
    """The picture in a file as uint8 of `shape`.

    Raises:
        DataError: it cannot be read, or is broken; the message names it.
    """
    try:
        return decode(path.read_bytes(), shape)
    except Exception as error:  # decoders raise anything on a broken file
        reason = "its head makes no sense" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{path}: expected a whole {TAKEN} picture, found a broken one ({reason}).") from error


def decode(content: bytes, shape: Shape) -> np.ndarray:
    """The picture in a file's content as uint8 of `shape`; raises anything where it is broken.

    Pillow 13 must not be given the file's path: it maps grey TIFF files into memory then, and skews those that have to
    be turned.
    """
    with _opened(io.BytesIO(content)) as image:
        image.draft(None, (_side(shape),) * 2)
        image.load()
        return fit(image, shape)


def header(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width of the picture in a file once it is upright, and whether it is grey; raises anything."""
    with path.open("rb") as file, _opened(file) as image:
        width, height = image.size
        on_its_side = 5 <= _orientation(image) <= 8
        return (width, height) if on_its_side else (height, width), image.mode in GREY


def _opened(file: BinaryIO) -> Image.Image:
    name = _format_of(file.read(16))
    if name is None:
        raise ValueError("another format, or no picture")
    image = Image.open(file, formats=[name])
    compression = image.info.get("compression")
    if compression not in COMPRESSIONS.get(name, {compression}):
        raise ValueError(f"{name} with compression {compression}")
    if image.mode not in MODES:
        raise ValueError(f"pixels of mode {image.mode} instead of 8 or 16 bits a colour")
    return image


def fit(picture: Image.Image, shape: Shape) -> np.ndarray:
    """The picture as uint8 of `shape`."""
    height, width, channels = shape
    image = _shrunk(picture, COLOURS[channels], _side(shape))
    if (turn := TURNS.get(_orientation(picture))) is not None:
        image = image.transpose(turn)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)).reshape(shape)


def fit_array(image: np.ndarray, shape: Shape) -> np.ndarray:
    """An image uint8 (height, width, channels) as uint8 of `shape`."""
    return (
        image
        if image.shape == shape
        else fit(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), shape)
    )


def _side(shape: Shape) -> int:
    return max(SIDE, 2 * max(shape[:2]))


def _orientation(image: Image.Image) -> int:
    """How EXIF says that the camera was held; 1, upright, where it says nothing or is damaged.

    This reads one number, where Pillow fails if anything in EXIF is damaged. TIFF files keep it elsewhere, and Pillow
    turns them itself.
    """
    exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order = ">" if exif[:2] == b"MM" else "<"
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at)
            if (tag, kind) == (ORIENTATION, 3):
                return value
    except struct.error:
        pass
    return 1


def _shrunk(image: Image.Image, mode: str, side: int) -> Image.Image:
    """The picture in the colours of `mode`, each side divided by the largest number that leaves it `side` long."""
    (width, height), (across, down) = image.size, (max(1, length // side) for length in image.size)
    if across == down == 1 and width * height <= SMALL:
        return _recoloured(image, mode)
    shrunk = Image.new(mode, (-(-width // across), -(-height // down)))
    wide, high = across * -(-TILE // across), down * -(-TILE // down)
    for top in range(0, height, high):
        for left in range(0, width, wide):
            tile = image.crop((left, top, min(left + wide, width), min(top + high, height)))
            shrunk.paste(_recoloured(tile, mode).reduce((across, down)), (left // across, top // down))
    return shrunk


def _recoloured(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them down.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert(mode)
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "black"), seen).convert(mode)
