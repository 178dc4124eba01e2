"""Nested lists of numbers become uint8 arrays here, or the first fault is named by its place in the lists."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidImageError, TooLargeError

KEYS = 5  # of an object that an error message names

# Raw pixels from 0 to 255, (n, height, width, channels): whole numbers, or floats where a client sent fractions.
Images = NDArray[np.uint8 | np.float32]


def from_lists(
    images: list[Any],
    shape: Sequence[int],
    name_of: Callable[[int], str] = "images[{}]".format,
    fractions: bool = False,
) -> Images:
    """Pack `images`, at least one, each height x width x channels of numbers from 0 to 255.

    Args:
        images: nested lists as JSON gives them; with one channel, height x width will do.
        shape: (height, width, channels) of the model.
        name_of: what an error calls the image of an index.
        fractions: whether they are allowed, as in `from_numbers`.

    Returns:
        Shape (n, height, width, channels); uint8 where all are whole numbers, else float32.

    Raises:
        InvalidImageError: ragged or wrongly shaped lists, or what `from_numbers` refuses.
    """
    height, width, channels = shape
    # The first pixel tells whether a single channel has its own innermost lists.
    sizes = (height, width) if channels == 1 and not isinstance(_first_pixel(images), list) else tuple(shape)
    dimensions = (len(images), *sizes)
    nodes = images
    for depth, size in enumerate(sizes):
        # Sets of types and lengths, since a Python loop over rows and pixels costs more than the model.
        if set(map(type, nodes)) != {list} or set(map(len, nodes)) != {size}:
            fault = next(i for i, node in enumerate(nodes) if type(node) is not list or len(node) != size)
            place = _place(fault, dimensions[: depth + 1], name_of)
            wanted = f"a list of {times(sizes[depth:])} numbers"
            raise InvalidImageError(f"`{place}` must be {wanted}. Received: {brief(nodes[fault])}.")
        nodes = list(chain.from_iterable(nodes))
    numbers = from_numbers(nodes, lambda fault: _place(fault, dimensions, name_of), fractions)
    return numbers.reshape(-1, height, width, channels)


def from_numbers(values: list[Any] | NDArray[Any], name_of: Callable[[int], str], fractions: bool = False) -> Images:
    """Pack flat `values` that are all numbers from 0 to 255, in a list or in an array of any number type.

    Args:
        values: the numbers.
        name_of: what an error calls the number of an index.
        fractions: whether they are allowed. None above 1 is then refused all the same: such pixels were scaled.

    Returns:
        uint8 where all are whole numbers, else float32.

    Raises:
        InvalidImageError: the first that is not so.
    """
    if isinstance(values, np.ndarray):
        if values.dtype == np.uint8:
            return values
        numbers = values
    else:
        # The common case in one pass: bytes() refuses what is no whole number of its range, but lets true be 1.
        if set(map(type, values)) == {int}:
            try:
                return np.frombuffer(bytes(values), np.uint8)
            except ValueError:
                pass
        # NaN, which passes no check, for what is no number.
        numbers = np.array([value if type(value) in (float, int) else math.nan for value in values], np.float64)
    whole = (numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))
    if whole.all():
        return numbers.astype(np.uint8)
    good = (numbers >= 0) & (numbers <= 255) if fractions else whole
    if good.all() and numbers.max() > 1:
        return numbers.astype(np.float32)
    fault = int(np.argmin(whole if good.all() else good))
    value = values[fault].item() if isinstance(values, np.ndarray) else values[fault]
    raise InvalidImageError(_refusal(value, name_of(fault), fractions))


def flat(values: Any, count: int, what: str) -> list[Any]:
    """The `count` numbers of a list that may be nested to any regular or irregular shape, in their order."""
    numbers = values
    while isinstance(numbers, list) and list in (kinds := set(map(type, numbers))):
        if kinds != {list}:
            raise InvalidImageError(f"The {what} must be numbers, or lists of one depth. Received: a mixture.")
        numbers = list(chain.from_iterable(numbers))
    if not isinstance(numbers, list) or len(numbers) != count:
        came = f"{len(numbers)} of them" if isinstance(numbers, list) else brief(numbers)
        raise InvalidImageError(f"The {what} must be {count} numbers. Received: {came}.")
    return numbers


def check_count(count: int, most: int) -> None:
    """Raise TooLargeError for a request of more than `most` images."""
    if count > most:
        raise TooLargeError(f"A request may hold {most} images. Received: {count}.")


def times(sizes: Sequence[int]) -> str:
    """Sizes as people write them: 28 x 28 x 1."""
    return " x ".join(map(str, sizes))


def brief(value: Any) -> str:
    """A JSON value in a few words, for an error message."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = json.dumps(value, ensure_ascii=False)  # null and true, not None and True: the reader wrote JSON
    return text if len(text) <= 40 else f"{text[:40]}..."


def keys_of(value: dict[str, Any]) -> str:
    """The keys of a JSON object in a few words, for an error message."""
    if not value:
        return "an empty object"
    first = ", ".join(map(brief, islice(value, KEYS)))
    more = f" and {len(value) - KEYS} more" if len(value) > KEYS else ""
    return f"the keys {first}{more}"


def _first_pixel(images: list[Any]) -> Any:
    node: Any = images
    for _ in range(3):
        if not isinstance(node, list) or not node:
            return None
        node = node[0]
    return node


def _place(index: int, dimensions: Sequence[int], name_of: Callable[[int], str]) -> str:
    """Where the flat `index` lies: the image's own name, then one [index] a level."""
    image, *rest = np.unravel_index(index, dimensions)
    return name_of(int(image)) + "".join(f"[{level}]" for level in rest)


def _refusal(value: Any, place: str, fractions: bool) -> str:
    scaled = isinstance(value, float) and 0 < value < 1
    none_above = ", and none above 1" if scaled and fractions else ""
    hint = " Send raw pixels: the model scales them itself." if scaled else ""
    kind = "number" if fractions else "whole number"
    return f"`{place}` must be a {kind} from 0 to 255. Received: {brief(value)}{none_above}.{hint}"
