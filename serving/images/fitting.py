"""The one place where decoded images are converted: upright, then what the model's training images look like.

A picture of a thing on a light background is taken through the steps that made such training images, where the
card says that they were made so; everything else is recoloured and resized, and the whole image fills the frame.
`trainer/data/pictures.py` does the latter in code of its own; `tests/test_decoding.py` holds the two equal.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import InvalidImageError
from serving.images.heads import Head
from serving.images.photographs import LOOKED_AT, Look, imitate, light_background

COLOURS = {1: "L", 3: "RGB"}  # the mode that Pillow gives to so many channels
# The modes that are accepted, all of 8 or 16 bits a colour, and their names in replies. Files do not say which shades
# 32-bit or fractional values stand for.
COLOUR_NAMES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "P": "palette",
    "PA": "palette",
    "RGB": "RGB",
    "RGBA": "RGB",
    "RGBX": "RGB",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}
# To save memory, large images are reduced by averaging before anything else, to sides that are no shorter than this.
SIDE = 1024
TILE = 512  # pixels a side that are converted at a time, for the same reason
SMALL = 2**20  # pixels; smaller images are converted in one go, which is faster
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

Fitted = tuple[NDArray[np.uint8], str | None, str | None]


def fit(image: Image.Image, size: tuple[int, int], shape: Sequence[int], look: Look | None, name: str) -> Fitted:
    """Make an image fit the model.

    Args:
        image: decoded, in any mode of COLOUR_NAMES; a JPEG may have been shrunk while it was decoded.
        size: width and height of the image in its file.
        shape: (height, width, channels); channels is a key of COLOURS.
        look: what the training images look like, None to leave backgrounds as they are.
        name: what an error calls the image.

    Returns:
        uint8 of `shape`; in words, how it was converted; in words, how it was made to look like the training
        images. None for what was not done.

    Raises:
        InvalidImageError: nothing but a light background.
    """
    height, width, channels = shape
    orientation = _orientation(image)
    turn = TURNS.get(orientation)
    wide, high = reversed(size) if 5 <= orientation <= 8 else size
    turned = {"turned upright": turn is not None}
    if look and (wide, high) != (width, height):
        coloured, opaque = _shrunk(image, "RGB", side(shape), "white")
        coloured = coloured if turn is None else coloured.transpose(turn)
        if background := light_background(coloured):
            found = imitate(coloured, (wide, high), background, look, (width, height))
            if found is None:
                raise InvalidImageError(f"{name} must show something. Received: nothing but a light background.")
            fitted, steps = found
            return np.asarray(fitted)[..., None], _said(turned | {"transparent parts to white": not opaque}), steps
    coloured, opaque = _shrunk(image, COLOURS[channels], side(shape), "black")
    coloured = coloured if turn is None else coloured.transpose(turn)
    # Bilinear, and widened when shrinking so that every pixel counts, as tf.image.resize does with antialias.
    fitted = coloured.resize((width, height), Image.Resampling.BILINEAR)
    before, after = COLOUR_NAMES[image.mode], COLOUR_NAMES[fitted.mode]
    notes = turned | {
        f"resized from {wide}x{high}": (wide, high) != fitted.size,
        f"{before} to {after}": before != after,
        "transparent parts to black": not opaque,
    }
    return np.asarray(fitted).reshape(height, width, channels), _said(notes), None


def side(shape: Sequence[int]) -> int:
    """Pixels of a side that an image keeps when it is shrunk before it is converted: twice those of the model."""
    return max(SIDE, 2 * max(shape[:2]))


def memory_of_fitting(found: Head, shape: Sequence[int]) -> int:
    """Bytes that `fit` takes at most, beside the decoded image itself."""
    decoded = tuple(-(-length // found.reduction) for length in found.size)
    (width, across, wide), (height, down, high) = (_steps(length, side(shape)) for length in decoded)
    sides = -(-width // across), -(-height // down)
    shrunk = sides[0] * sides[1]
    # A thing is looked for in one that is smaller still, in a few arrays of 16 bits.
    smaller = shrunk // max(1, max(sides) // LOOKED_AT) ** 2
    at_once = shrunk if shrunk == width * height <= SMALL else min(width, wide) * min(height, high)
    return 8 * shrunk + 24 * smaller + 16 * at_once


def _steps(length: int, side: int) -> tuple[int, int, int]:
    """A side of an image, how many times shorter it becomes, and how much of it is converted at a time."""
    factor = max(1, length // side)
    return length, factor, factor * -(-TILE // factor)


def _said(notes: dict[str, bool]) -> str | None:
    return ", ".join(note for note, applies in notes.items() if applies) or None


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
                return int(value)
    except struct.error:
        pass
    return 1


def _shrunk(image: Image.Image, mode: str, side: int, behind: str) -> tuple[Image.Image, bool]:
    """The image in the colours of `mode`, each side divided by the largest number that leaves it `side` long.

    Returns:
        It, laid on the colour `behind`, and whether it was opaque already.
    """
    (width, across, wide), (height, down, high) = (_steps(length, side) for length in image.size)
    if across == down == 1 and width * height <= SMALL:
        return _recoloured(image, mode, behind)
    shrunk, opaque = Image.new(mode, (-(-width // across), -(-height // down))), True
    for top in range(0, height, high):
        for left in range(0, width, wide):
            tile = image.crop((left, top, min(left + wide, width), min(top + high, height)))
            coloured, tile_opaque = _recoloured(tile, mode, behind)
            shrunk.paste(coloured.reduce((across, down)), (left // across, top // down))
            opaque = opaque and tile_opaque
    return shrunk, opaque


def _recoloured(image: Image.Image, mode: str, behind: str) -> tuple[Image.Image, bool]:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them down; a transparent shade is lost here.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert(mode), True
    seen = image.convert("RGBA")
    opaque = seen.getchannel("A").getextrema() == (255, 255)
    return Image.alpha_composite(Image.new("RGBA", seen.size, behind), seen).convert(mode), opaque
