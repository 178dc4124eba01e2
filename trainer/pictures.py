"""Pictures of any size and colour become images of one shape, by the policy that serving applies to what clients send.

Upright as the camera held it, then the model's colours, transparent parts black, then its size: bilinear, widened
when shrinking so that every pixel counts; the whole picture fills the frame, its proportions are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.idx import DataError

Shape = tuple[int, int, int]

# Pictures keep their size where all have one, of at most so many pixels a side; others are brought to this side.
LARGEST_SIDE = 96
USUAL_SIDE = 64
COLOURS = {1: "L", 3: "RGB"}
GREY = {"1", "L", "LA", "I", "I;16", "F"}


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


def open_picture(path: Path) -> Image.Image:
    """A picture, decoded and upright.

    Raises:
        DataError: it cannot be read, or is broken; the message names it.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _upright(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, OSError) as error:
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{path}: expected a whole PNG or JPEG picture, found a broken one ({reason}).") from error


def fit(picture: Image.Image, shape: Shape) -> np.ndarray:
    """The picture as uint8 of `shape`."""
    height, width, channels = shape
    coloured = _recoloured(picture, COLOURS[channels])
    fitted = coloured.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(shape)


def fit_array(image: np.ndarray, shape: Shape) -> np.ndarray:
    """An image uint8 (height, width, channels) as uint8 of `shape`."""
    return (
        image
        if image.shape == shape
        else fit(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), shape)
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF raises anything; the pixels are what counts
        return image.copy()


def _recoloured(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "I;16":
        # Pillow would cut 16 bits off at 255 instead of scaling them down.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert(mode)
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "black"), seen).convert(mode)
