"""The one place where decoded images are converted: upright, then what the model's training images look like.

A picture of a thing on a light background is taken through the steps that made such training images, where the
card says that they were made so; everything else is recoloured and resized, and the whole image fills the frame.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from serving.errors import InvalidImageError
from serving.likeness import Look, imitate, light_background

COLOURS = {1: "L", 3: "RGB"}  # the mode that Pillow gives to so many channels
COLOUR_NAMES = {
    "1": "black and white",
    "I;16": "16-bit grey",
    "L": "grey",
    "LA": "grey",
    "P": "palette",
    "RGBA": "RGB",
}
# EXIF's orientations but the upright one. ImageOps.exif_transpose would also write EXIF anew, and fail on damage.
TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Fitted = tuple[NDArray[np.uint8], str | None, str | None]


def fit(image: Image.Image, shape: Sequence[int], look: Look | None, name: str) -> Fitted:
    """Make an image fit the model.

    Args:
        image: decoded, in any mode that PNG and JPEG have.
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
    turn = TURNS.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    turned = {"turned upright": turn is not None}
    if look and upright.size != (width, height):
        coloured, opaque = _recolour(upright, "RGB", "white")
        if background := light_background(coloured):
            found = imitate(coloured, background, look, (width, height))
            if found is None:
                raise InvalidImageError(f"{name} must show something. Received: nothing but a light background.")
            fitted, steps = found
            return np.asarray(fitted)[..., None], _said(turned | {"transparent parts to white": not opaque}), steps
    coloured, opaque = _recolour(upright, COLOURS[channels], "black")
    # Bilinear, and widened when shrinking so that every pixel counts, as tf.image.resize does with antialias.
    fitted = coloured.resize((width, height), Image.Resampling.BILINEAR)
    before, after = (COLOUR_NAMES.get(each.mode, each.mode) for each in (upright, fitted))
    notes = turned | {
        f"resized from {upright.width}x{upright.height}": upright.size != fitted.size,
        f"{before} to {after}": before != after,
        "transparent parts to black": not opaque,
    }
    return np.asarray(fitted).reshape(height, width, channels), _said(notes), None


def _said(notes: dict[str, bool]) -> str | None:
    return ", ".join(note for note, applies in notes.items() if applies) or None


def _orientation(image: Image.Image) -> object:
    """What the camera says in EXIF of how it was held; nothing, when what it says is damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None  # The pixels are whole, and they are what counts.


def _recolour(image: Image.Image, mode: str, behind: str) -> tuple[Image.Image, bool]:
    """The image in the model's colours, laid on the colour `behind`, and whether it was opaque already."""
    if image.mode == "I;16":
        # Pillow would cut 16 bits off at 255 instead of scaling them down; a transparent shade is lost here.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert(mode), True
    seen = image.convert("RGBA")
    opaque = seen.getchannel("A").getextrema() == (255, 255)
    return Image.alpha_composite(Image.new("RGBA", seen.size, behind), seen).convert(mode), opaque
