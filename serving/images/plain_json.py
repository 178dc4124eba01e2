"""The usual JSON body, pixels and nothing else, becomes an array here without a Python object for each number."""

import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import numpy as np
import simdjson
from numpy.typing import NDArray

LARGEST = 2**20  # bytes of a body; the parser keeps some ten times as much memory as its longest one took
_NUMBERS = b"0123456789 \t\n\r"

_parser = simdjson.Parser()
_lock = threading.Lock()  # the parser holds one document at a time


def pixels(body: bytes, key: str, shape: Sequence[int], most: int) -> NDArray[np.uint8] | None:
    """The images of a JSON text that is `{"<key>": [image, ...]}` with whole numbers from 0 to 255.

    Args:
        body: the JSON text.
        key: what the images must lie under.
        shape: (height, width, channels) of the model; with one channel, lists of height x width will do.
        most: images.

    Returns:
        uint8 of shape (n, height, width, channels), n from 1 to `most`. None for everything else, good or bad:
        that is for `json_text.parse` and `pixels.from_lists` to read, or to refuse with a reason.
    """
    if len(body) > LARGEST:
        return None
    outline = body.translate(None, _NUMBERS)
    count = max(_images(outline, key, each) for each in _outlines(tuple(shape)))
    if not 0 < count <= most:
        return None
    with _lock:
        numbers = _numbers(body, key)
    # The outline of [7] and of [] is the same.
    if numbers is None or len(numbers) != count * math.prod(shape) or numbers.max() > 255:
        return None
    return numbers.astype(np.uint8).reshape(count, *shape)


@cache
def _outlines(shape: tuple[int, ...]) -> list[bytes]:
    """What is left of an image's JSON without digits and spaces; two forms where the single channel may be left out."""
    outlines = []
    for sizes in (shape, shape[:2]) if shape[2] == 1 else (shape,):
        image = b""
        for size in reversed(sizes):
            image = b"[" + b",".join([image] * size) + b"]"
        outlines.append(image)
    return outlines


def _images(outline: bytes, key: str, image: bytes) -> int:
    """How many images of this outline lie under the key of a JSON text without digits and spaces; 0 if it has more."""
    head = f'{{"{key}":['.encode()
    # Each image has a comma behind it, but for the last.
    count = (len(outline) - len(head) - 1) // (len(image) + 1)
    return count if outline == head + b",".join([image] * count) + b"]}" else 0


def _numbers(body: bytes, key: str) -> NDArray[np.uint64] | None:
    """All numbers under the key, None where the text is no JSON after all. It lets go of the document."""
    with suppress(ValueError, RuntimeError):  # the latter for integers beyond 64 bits
        document = _parser.parse(body)
        if isinstance(document, simdjson.Object) and isinstance(images := document.get(key), simdjson.Array):
            return np.frombuffer(images.as_buffer(of_type="u"), np.uint64)
    return None
