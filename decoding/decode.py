"""An image file becomes uint8 pixels of the model's shape, by one policy for training and serving.

Of an animation, the first frame is used. The image takes the model's colours, transparent parts black, is turned
upright as the camera held it, and takes the model's size: bilinear, widened when shrinking so that every pixel counts.
The whole image fills the frame; its proportions are not kept.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  # or Pillow would import all of its plugins

from decoding.errors import ImageFileError, broken
from decoding.heads import Head

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
PALETTE = 256  # colours at most
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


@dataclass(frozen=True)
class Picture:
    """An image as it was stored.

    Attributes:
        image: in any mode of COLOUR_NAMES; a JPEG may have been shrunk while it was decoded.
        size: width and height in the file, once it is upright.
        turn: what turns it upright; None where it is.
    """

    image: Image.Image
    size: tuple[int, int]
    turn: Image.Transpose | None = None

    @classmethod
    def of(cls, image: Image.Image, size: tuple[int, int]) -> "Picture":
        """An image whose file has `size`, and perhaps EXIF that says how the camera was held."""
        orientation = _orientation(image)
        return cls(image, size[::-1] if 5 <= orientation <= 8 else size, TURNS.get(orientation))

    def upright(self, mode: str, side: int, behind: str = "black") -> tuple[Image.Image, bool]:
        """The image in the colours of `mode`, reduced to sides no shorter than `side` and turned upright.

        Returns:
            It, laid on the colour `behind`, and whether it was opaque already.
        """
        image, opaque = _reduced(self.image, mode, side, behind)
        return image if self.turn is None else image.transpose(self.turn), opaque

    def fit(self, shape: Sequence[int]) -> tuple[NDArray[np.uint8], str | None]:
        """The pixels, uint8 of `shape` (height, width, channels), and how they were converted, None if not at all."""
        height, width, channels = shape
        image, opaque = self.upright(COLOURS[channels], side_of(shape))
        if image.size != (width, height):
            # Bilinear, and widened when shrinking, as tf.image.resize does with antialias.
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        before, after = COLOUR_NAMES[self.image.mode], COLOUR_NAMES[image.mode]
        notes = {
            "turned upright": self.turn is not None,
            f"resized from {self.size[0]}x{self.size[1]}": self.size != image.size,
            f"{before} to {after}": before != after,
            "transparent parts to black": not opaque,
        }
        return np.frombuffer(image.tobytes(), np.uint8).reshape(shape), listed(notes)


def side_of(shape: Sequence[int]) -> int:
    """Pixels of a side that an image keeps when it is reduced before it is converted: twice those of the model."""
    return max(SIDE, 2 * max(shape[:2]))


def listed(notes: dict[str, bool]) -> str | None:
    """The notes that apply, None if none does."""
    return ", ".join(note for note, applies in notes.items() if applies) or None


def opened(content: bytes, head: Head) -> Image.Image:
    """The image in a file, not decoded yet; raises anything where the file is broken."""
    # Pillow 13 must not be given the file's path: it maps grey TIFF files into memory then, and skews those that it
    # has to turn.
    image = Image.open(io.BytesIO(content), formats=[head.format])
    if sorted(image.size) != sorted(head.size):
        raise ValueError(f"its size is given twice, as {image.size} too")
    if image.mode not in COLOUR_NAMES:
        raise ImageFileError(f"must have 8 or 16 bits a colour. Received: pixels of mode {image.mode}.")
    return image


def decode(content: bytes, head: Head, side: int) -> Picture:
    """The image in a file; a JPEG is reduced to sides no shorter than `side` while it is decoded.

    Raises:
        ImageFileError: broken or truncated, or neither 8 nor 16 bits a colour.
    """
    try:
        image = opened(content, head)
        size = image.size
        image.draft(None, (side, side))
        image.load()
        _check_convertible(image)
    except ImageFileError:
        raise
    except Exception as error:
        # Decoders raise whatever they like on broken input: OSError, SyntaxError, struct.error, ...
        reason = "its header is invalid" if isinstance(error, UnidentifiedImageError) else str(error)
        raise broken(content, head.format, reason) from None
    return Picture.of(image, size)


def _check_convertible(image: Image.Image) -> None:
    """Raise ValueError for an image that Pillow decodes, but fails to convert."""
    for name in ("exif", "transparency"):
        # Pillow keeps a PNG's texts under the same names as what it found out itself.
        if isinstance(image.info.get(name), str):
            raise ValueError(f"it has a text called {name}")
    if image.mode == "P" and image.palette is None:
        raise ValueError("it has no palette")
    alphas = image.info.get("transparency")
    if isinstance(alphas, bytes) and len(alphas) > PALETTE:
        raise ValueError(f"its palette has {len(alphas)} transparent colours")


def memory_of(head: Head, side: int, detail: int) -> int:
    """Bytes that decoding a file, and converting its image for a model, take at most.

    Args:
        head: of the file.
        side: that the image keeps when it is reduced.
        detail: the longest side, in pixels, of a copy in which photographs are examined.
    """
    decoded = (-(-length // head.reduction) for length in head.size)
    (width, across, wide), (height, down, high) = (_steps(length, side) for length in decoded)
    sides = -(-width // across), -(-height // down)
    reduced = sides[0] * sides[1]
    examined = reduced // max(1, max(sides) // detail) ** 2  # in a few arrays of 16 bits
    at_once = reduced if reduced == width * height <= SMALL else min(width, wide) * min(height, high)
    # Decoders also hold two rows, of at most 8 bytes a pixel.
    return head.memory + 16 * head.size[0] + 8 * reduced + 24 * examined + 16 * at_once


def _steps(length: int, side: int) -> tuple[int, int, int]:
    """A side of an image, how many times shorter it becomes, and how much of it is converted at a time."""
    factor = max(1, length // side)
    return length, factor, factor * -(-TILE // factor)


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


def _reduced(image: Image.Image, mode: str, side: int, behind: str) -> tuple[Image.Image, bool]:
    """The image in the colours of `mode`, each side divided by the largest number that leaves it `side` long."""
    (width, across, wide), (height, down, high) = (_steps(length, side) for length in image.size)
    if across == down == 1 and width * height <= SMALL:
        return _recoloured(image, mode, behind)
    reduced, opaque = Image.new(mode, (-(-width // across), -(-height // down))), True
    for top in range(0, height, high):
        for left in range(0, width, wide):
            tile = image.crop((left, top, min(left + wide, width), min(top + high, height)))
            coloured, tile_opaque = _recoloured(tile, mode, behind)
            reduced.paste(coloured.reduce((across, down)), (left // across, top // down))
            opaque = opaque and tile_opaque
    return reduced, opaque


def _recoloured(image: Image.Image, mode: str, behind: str) -> tuple[Image.Image, bool]:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them down; a transparent shade is lost here.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode), True
    seen = image.convert("RGBA")
    opaque = seen.getchannel("A").getextrema() == (255, 255)
    return Image.alpha_composite(Image.new("RGBA", seen.size, behind), seen).convert(mode), opaque
