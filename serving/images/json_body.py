"""Reads JSON bodies: plain pixels without a Python object for each number, and everything else within limits."""

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

from serving.errors import InvalidImageError, TooLargeError

# Bytes of a body for the parser that is kept; it keeps some ten times as much memory as its longest one took.
SMALL = 2**20
# A number may have a list of its own and a comma; what is left is for the lists around them.
LISTS = 3
KEYS = 4  # {"images": {"b64": ...}} has two objects with a key each
SPARE = 1000  # for what else a request may say

_NUMBERS = b"0123456789 \t\n\r"
_parser: Any = simdjson.Parser()  # Any: an outline tells what a document is
_lock = threading.Lock()  # the parser holds one document at a time
_large = threading.Lock()  # and one large document is parsed at a time, for its memory


def plain_pixels(body: bytes, key: str, shape: Sequence[int], most: int) -> NDArray[np.uint8] | None:
    """The images of a JSON text that is `{"<key>": [image, ...]}` with whole numbers from 0 to 255.

    This takes a third of the time of `parse` and `pixels.from_lists`.

    Args:
        body: the JSON text.
        key: what the images must lie under.
        shape: (height, width, channels) of the model; with one channel, lists of height x width will do.
        most: images.

    Returns:
        uint8 of shape (n, height, width, channels), n from 1 to `most`. None for everything else, good or bad: that is
        for `parse` and `pixels.from_lists` to read, or to refuse with a reason.
    """
    outline, size = body.translate(None, _NUMBERS), math.prod(shape)
    count = (outline.count(b",") + 1) // size
    if not 0 < count <= most:
        return None
    begin = b'{"%b":[' % key.encode()
    if not any(outline == begin + b",".join([image] * count) + b"]}" for image in _outlines(tuple(shape))):
        return None
    try:
        small = len(body) <= SMALL
        with _lock if small else _large:
            parser: Any = _parser if small else simdjson.Parser()
            numbers = np.frombuffer(parser.parse(body)[key].as_buffer(of_type="u"), np.uint64)
    except (ValueError, KeyError, RuntimeError):  # no JSON, a key with digits in it, integers beyond 64 bits
        return None
    # The outline of [7] and of [] is the same.
    if len(numbers) != count * size or numbers.max() > 255:
        return None
    return numbers.astype(np.uint8).reshape(count, *shape)


@cache
def _outlines(shape: tuple[int, ...]) -> list[bytes]:
    """What is left of an image's JSON without digits and spaces; two forms where the single channel may be left out."""
    outlines = []
    for sizes in (shape[:2], shape) if shape[2] == 1 else (shape,):
        image = b""
        for size in reversed(sizes):
            image = b"[" + b",".join([image] * size) + b"]"
        outlines.append(image)
    return outlines


def parse(body: bytes, images: int, numbers: int) -> Any:
    """The value of a JSON text (RFC 8259: no NaN, no infinities).

    Args:
        body: the text.
        images: that it may hold.
        numbers: of one image.

    Raises:
        InvalidImageError: anything else, and lists more than a thousand levels deep.
        TooLargeError: more lists or keys than so many images can have.
    """
    # Before parsing: as Python objects, lists take thirty times the bytes that they had, and keys a hundred times.
    lists, keys = body.count(b"[") + body.count(b","), body.count(b"{") + body.count(b":")
    if lists > LISTS * images * numbers + SPARE or keys > KEYS * images + SPARE:
        raise TooLargeError(
            f"The JSON may hold {images} images of {numbers} numbers. Received: {len(body)} bytes with more in it."
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = f"{error}" if body else "it is empty"
        raise InvalidImageError(
            f"The body must be JSON. Received: {len(body)} bytes that are not ({reason})."
        ) from None
