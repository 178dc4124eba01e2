"""Nested lists become arrays; the first fault is named by its place."""

from typing import Any

import numpy as np
import pytest

from serving.errors import InvalidImageError
from serving.images.pixels import from_lists

SHAPE = (2, 3, 1)


def images(value: Any = 7) -> list[Any]:
    """Two images of 2 x 3, of which the last pixel of the second is `value`."""
    return [[[0, 1, 2], [3, 4, 5]], [[6, 255, 0], [0, 12.0, value]]]


def test_numbers_become_uint8_in_the_same_places() -> None:
    array = from_lists(images(), SHAPE)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[[0], [1], [2]], [[3], [4], [5]]], [[[6], [255], [0]], [[0], [12], [7]]]]


def test_a_single_channel_may_have_lists_of_its_own() -> None:
    with_channels = [[[[pixel] for pixel in row] for row in image] for image in images()]
    assert (from_lists(with_channels, SHAPE) == from_lists(images(), SHAPE)).all()


def test_three_channels_must_have_lists_of_their_own() -> None:
    colours = np.arange(2 * 2 * 3 * 3).reshape(2, 2, 3, 3)
    assert (from_lists(colours.tolist(), (2, 3, 3)) == colours).all()
    with pytest.raises(InvalidImageError, match=r"^`images\[0\]\[0\]\[0\]` must be a list of 3 numbers"):
        from_lists(images(), (2, 3, 3))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (256, "256"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
        (1e300, "1e\\+300"),
        (99.5, "99.5"),
        ("7", '"7"'),
        ("x" * 9999, '"xxx'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ({}, "an object"),
        ([], "a list of 0"),
    ],
)
def test_what_is_no_pixel_is_refused_by_its_place(value: Any, shown: str) -> None:
    with pytest.raises(
        InvalidImageError,
        match=rf"^`images\[1\]\[1\]\[2\]` must be a whole number from 0 to 255\. Received: {shown}",
    ) as caught:
        from_lists(images(value), SHAPE)
    assert len(str(caught.value)) < 200


def test_pixels_scaled_to_one_are_refused_with_the_reason() -> None:
    with pytest.raises(InvalidImageError, match=r"Received: 0\.5\. Send raw pixels: the model scales them itself\.$"):
        from_lists(images(0.5), SHAPE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([5], "`images[0]` must be a list of 2 x 3 numbers. Received: 5."),
        ([[]], "`images[0]` must be a list of 2 x 3 numbers. Received: a list of 0."),
        ([{}], "`images[0]` must be a list of 2 x 3 numbers. Received: an object."),
        ([[1, 2, 3, 4, 5, 6]], "`images[0]` must be a list of 2 x 3 numbers. Received: a list of 6."),
        ([[1, 2]], "`images[0][0]` must be a list of 3 numbers. Received: 1."),
        ([[[1, 2, 3], [4, 5]]], "`images[0][1]` must be a list of 3 numbers. Received: a list of 2."),
        ([[[1, 2, 3], [4, 5, 6]], "x"], '`images[1]` must be a list of 2 x 3 numbers. Received: "x".'),
        (
            [[[[1], [2], [3]], [[4], [5], 6]]],
            "`images[0][1][2]` must be a list of 1 numbers. Received: 6.",
        ),
        (
            [[[[1], [2], [3]], [[4], [5], [6, 7]]]],
            "`images[0][1][2]` must be a list of 1 numbers. Received: a list of 2.",
        ),
        (
            [[[1, 2, 3], [4, 5, [6]]]],
            "`images[0][1][2]` must be a whole number from 0 to 255. Received: a list of 1.",
        ),
    ],
)
def test_a_wrong_shape_is_refused_by_its_place(given: list[Any], message: str) -> None:
    with pytest.raises(InvalidImageError) as caught:
        from_lists(given, SHAPE)
    assert str(caught.value) == message


def test_an_image_can_be_called_by_another_name() -> None:
    with pytest.raises(InvalidImageError, match=r"^`image\[0\]\[1\]` must be"):
        from_lists([[[0, -1, 0], [0, 0, 0]]], SHAPE, lambda _: "image")
