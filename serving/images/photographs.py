"""A picture of a thing on a light background becomes what the training images look like, by the steps of their making.

Fashion-MNIST was made from shop photographs on white: trimmed, the longest side to 28, sharpened, extended, negated,
grey. Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017, section 2. What is added: a background that is not quite white is made so first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from decoding.decode import Picture, listed, side_of
from decoding.errors import ImageFileError
from registry.card import CardError, ModelCard

CLOSE = 0.05 * 255  # within this of its corners' colour, they took a pixel for background
LIGHT = 150  # grey level of the border from which on a background is light; paper in a dim room has 160 or so
EVEN = 30  # grey levels: border pixels within this of their median belong to one background,
EVEN_SHARE = 0.6  # and so many must, for a thing may touch the border
EXAMINED = 448  # pixels of the longest side at which background is told from thing
SPECKS = 0.01  # a row or column with less than this share of thing in it holds none
# Theirs was stronger; after shrinking by averages, which keeps edges better than skipping rows, half is enough.
SHARPEN = ImageFilter.UnsharpMask(radius=1, percent=50, threshold=0)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """How grey training images look that show one thing on black: it is `side` pixels long at its longest."""

    side: int

    @classmethod
    def of(cls, card: ModelCard) -> "Look | None":
        """What the card says that the trainer found; None where training images looked otherwise, or nobody looked.

        Raises CardError for what no trainer can have found.
        """
        look = card.data.get("look")
        if not look or card.input.shape[2] != 1:
            return None
        found, longest = look.get("side") if isinstance(look, dict) else None, max(card.input.shape[:2])
        if type(found) is not int or not 0 < found <= longest:
            raise CardError(f"The card's `look` must have a `side` from 1 to {longest}. Received: {look!r:.60}.")
        return cls(found)


def light_background(picture: Image.Image) -> Colour | None:
    """The colour of an RGB picture's border, if that is light and even; else None."""
    picture = _smaller(picture)[0]
    wide, high = picture.size
    edge = max(1, min(wide, high) // 56)
    strips = ((0, 0, wide, edge), (0, high - edge, wide, high), (0, 0, edge, high), (wide - edge, 0, wide, high))
    border = np.concatenate([np.asarray(picture.crop(strip)).reshape(-1, 3) for strip in strips]).astype(int)
    colour = np.median(border, axis=0)
    even = np.abs(border - colour).max(axis=1) <= EVEN
    if colour.mean() < LIGHT or even.mean() < EVEN_SHARE:
        return None
    red, green, blue = colour.astype(int).tolist()
    return red, green, blue


def imitate(picture: Picture, look: Look, shape: Sequence[int]) -> tuple[NDArray[np.uint8], str | None, str] | None:
    """Take a picture through the steps.

    Args:
        picture: of any size.
        look: of the training images.
        shape: (height, width, 1) of the model.

    Returns:
        uint8 of `shape`; how the picture was converted before, None if not at all; and the steps. None for a picture
        without a light background.

    Raises:
        ImageFileError: there is nothing on the background.
    """
    image, opaque = picture.upright("RGB", side_of(shape), "white")
    if (background := light_background(image)) is None:
        return None
    if (box := _box(image, background)) is None:
        raise ImageFileError("must show something. Received: nothing but a light background.")
    wide, high = (
        round((box[2] - box[0]) * picture.size[0] / image.width),
        round((box[3] - box[1]) * picture.size[1] / image.height),
    )
    scale = look.side / max(wide, high)
    whole = image.resize((max(1, round(wide * scale)), max(1, round(high * scale))), Image.Resampling.BOX, box=box)
    white = Image.merge("RGB", [_lit(band, shade) for band, shade in zip(whole.split(), background, strict=True)])
    sharp = white.filter(SHARPEN)
    height, width, _ = shape
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(sharp, ((width - sharp.width) // 2, (height - sharp.height) // 2))
    steps = [
        "light background made white" if min(background) < 255 - CLOSE else "light background",
        f"trimmed to {wide}x{high}",
        f"longest side to {look.side}",
        "sharpened",
        f"extended to {width}x{height}",
        "negated",
        "grey",
    ]
    notes = {"turned upright": picture.turn is not None, "transparent parts to white": not opaque}
    return np.asarray(ImageChops.invert(canvas).convert("L"))[..., None], listed(notes), ", ".join(steps)


def _box(picture: Image.Image, background: Colour) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what is not background; None where everything is."""
    reduced, factor = _smaller(picture)
    small = np.asarray(reduced).astype(np.int16)
    thing = np.abs(small - np.array(background, np.int16)).max(axis=2) > CLOSE
    high, wide = thing.shape
    rows = np.flatnonzero(thing.sum(axis=1) > SPECKS * wide)
    columns = np.flatnonzero(thing.sum(axis=0) > SPECKS * high)
    if not len(rows) or not len(columns):
        return None
    left, top, right, bottom = (int(each) * factor for each in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return left, top, min(right, picture.width), min(bottom, picture.height)


def _smaller(picture: Image.Image) -> tuple[Image.Image, int]:
    """The picture and how many times smaller it is, by averaging: quicker to look at, and a JPEG's noise goes."""
    factor = max(1, max(picture.size) // EXAMINED)
    return picture.reduce(factor), factor


def _lit(band: Image.Image, shade: int) -> Image.Image:
    """One colour, brightened until the background's `shade` of it is white."""
    return band.point([min(255, round(value * 255 / shade)) for value in range(256)])
