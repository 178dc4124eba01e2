"""Pictures of any size and colour become images of one shape; `decoding/` says how, for the service, too."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from decoding import heads
from decoding.decode import SIDE, Picture, opened, side_of
from decoding.decode import decode as decoded
from decoding.errors import ImageFileError
from trainer.data.dataset import DataError

Shape = tuple[int, int, int]

# Pictures keep their size where all have one, of at most so many pixels a side; others are brought to this side.
LARGEST_SIDE = 96
USUAL_SIDE = 64
GREY = {"1", "L", "LA", "I;16", "I;16B"}
SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
# Pictures that not every system's list of media types knows.
MORE_SUFFIXES = {".webp", ".jp2", ".jxl", ".psd", ".tga", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw"}


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


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name or its bytes; it may be one that cannot be read."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    named_so = kind.startswith("image/") or path.suffix.lower() in MORE_SUFFIXES
    return named_so or (path.is_file() and _begins_as_a_picture(path))


def is_readable(path: Path) -> bool:
    """Whether a file is a picture of a format that is read; it may be broken."""
    return path.suffix.lower() in SUFFIXES or _begins_as_a_picture(path)


def _begins_as_a_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return heads.format_of(file.read(16)) is not None


def read(path: Path, shape: Shape) -> np.ndarray:
    """The picture in a file as uint8 of `shape`.

    Raises:
        DataError: it cannot be read, or is broken; the message names it.
    """
    try:
        return decode(path.read_bytes(), shape)
    except OSError as error:
        raise DataError(f"{path} must be a file that can be read. Received: {error}.") from error
    except ImageFileError as error:
        raise DataError(f"{path} {error}") from error


def decode(content: bytes, shape: Shape) -> np.ndarray:
    """The picture in a file's content as uint8 of `shape`; raises ImageFileError for a broken one."""
    side = side_of(shape)
    return decoded(content, heads.head(content, side), side).fit(shape)[0]


def header(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width of the picture in a file once it is upright, and whether it is grey; raises anything."""
    content = path.read_bytes()
    image = opened(content, heads.head(content, SIDE))
    width, height = Picture.of(image, image.size).size
    return (height, width), image.mode in GREY


def fit_array(image: np.ndarray, shape: Shape) -> np.ndarray:
    """An image uint8 (height, width, channels) as uint8 of `shape`."""
    if image.shape == shape:
        return image
    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    return Picture(picture, picture.size).fit(shape)[0]
