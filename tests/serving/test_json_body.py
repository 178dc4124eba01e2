"""Plain JSON pixels are read without Python objects, exactly as the thorough way would read them."""

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.errors import InvalidImageError
from serving.images.json_body import SMALL, parse, plain_pixels
from serving.images.pixels import from_lists

SHAPE = (2, 3, 1)
MOST = 4


def images(count: int = 2, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


@pytest.mark.parametrize(
    "dumped",
    [
        lambda nested: json.dumps({"images": nested}),
        lambda nested: json.dumps({"images": nested}, separators=(",", ":")),
        lambda nested: "\n" + json.dumps({"images": nested}, indent="\t") + "\r\n",
    ],
)
@pytest.mark.parametrize("count", [1, MOST])
def test_plain_images_are_read_with_and_without_a_channel(dumped: Any, count: int) -> None:
    wanted = images(count)
    for nested in (wanted.tolist(), wanted[..., 0].tolist()):
        read = plain_pixels(dumped(nested).encode(), "images", SHAPE, MOST)
        assert read is not None
        assert read.dtype == np.uint8
        assert read.shape == (count, *SHAPE)
        assert (read == wanted).all()


def test_images_in_colour_are_read() -> None:
    wanted = images(2, (2, 3, 3))
    read = plain_pixels(json.dumps({"instances": wanted.tolist()}).encode(), "instances", (2, 3, 3), MOST)
    assert read is not None
    assert (read == wanted).all()


def test_what_was_read_stays_as_it_is_while_the_next_body_is_read() -> None:
    first = plain_pixels(json.dumps({"images": images().tolist()}).encode(), "images", SHAPE, MOST)
    second = plain_pixels(json.dumps({"images": (images() // 2).tolist()}).encode(), "images", SHAPE, MOST)
    assert first is not None
    assert second is not None
    assert (first == images()).all()
    assert (second == images() // 2).all()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns after a microsecond, so that whatever is not safe between them goes wrong."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_do_not_mix_up_their_bodies() -> None:
    wrong = []

    def read(shade: int) -> None:
        body = json.dumps({"images": np.full((MOST, *SHAPE), shade).tolist()}).encode()
        for _ in range(500):
            got = plain_pixels(body, "images", SHAPE, MOST)
            if got is None or (got != shade).any():
                wrong.append(shade)

    threads = [threading.Thread(target=read, args=(shade,)) for shade in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


GOOD = '{"images": [[[1, 20, 255], [0, 7, 9]]]}'
WITH_CHANNEL = '{"images": [[[[1], [20], [255]], [[0], [7], [9]]]]}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"images": []}',
        '{"images": [[[1, 20, 255], [0, 7, 9]]], "more": 1}',
        GOOD.replace("images", "image"),
        GOOD.replace("images", "ima ges"),
        GOOD.replace("images", "images1"),
        GOOD.replace("255", "256"),
        GOOD.replace("255", "-1"),
        GOOD.replace("255", "1.0"),
        GOOD.replace("255", "1e1"),
        GOOD.replace("255", "true"),
        GOOD.replace("255", "null"),
        GOOD.replace("255", "NaN"),
        GOOD.replace("255", "007"),
        GOOD.replace("255", "2 5"),
        GOOD.replace("255", ""),
        GOOD.replace("255", "9" * 400),
        GOOD.replace("20, 255], [", "20], [255, "),
        GOOD.replace("20, 255], [", "20, ], 255 [ "),
        GOOD + "1",
        "1" + GOOD,
        "\ufeff" + GOOD,
        GOOD[:-1],
        WITH_CHANNEL.replace("255", ""),
        '{"images": [[[[], [], []], [[], [], []]]]}',
        '{"images": [[[[1], [2], [3]], [[4], [5], [6]]], [[[], [], []], [[], [], []]]]}',
        json.dumps({"images": images(MOST + 1).tolist()}),
    ],
)
def test_everything_else_is_left_to_the_thorough_way(text: str) -> None:
    assert plain_pixels(text.encode(), "images", SHAPE, MOST) is None


def test_a_long_body_is_read_by_a_parser_that_does_not_keep_its_memory() -> None:
    body = GOOD.encode() + b" " * (SMALL + 1 - len(GOOD))
    assert np.array_equal(plain_pixels(body, "images", SHAPE, MOST), plain_pixels(GOOD.encode(), "images", SHAPE, MOST))


def thorough(body: bytes) -> NDArray[np.uint8] | None:
    """What the thorough way reads; None where it refuses."""
    try:
        content = parse(body, MOST, 6)
        return from_lists(content["images"], SHAPE) if content.keys() == {"images"} else None
    except (InvalidImageError, AttributeError, TypeError):
        return None


@settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([GOOD, WITH_CHANNEL]),
    st.lists(
        st.tuples(
            st.integers(0, len(WITH_CHANNEL)), st.integers(0, 3), st.text('0123456789[]{},:"-.e\n t', max_size=3)
        ),
        max_size=3,
    ),
)
def test_no_change_to_a_body_is_read_otherwise_than_by_the_thorough_way(
    text: str, changes: list[tuple[int, int, str]]
) -> None:
    for place, length, new in changes:
        text = text[:place] + new + text[place + length :]
    read = plain_pixels(text.encode(), "images", SHAPE, MOST)
    if read is not None:
        wanted = thorough(text.encode())
        assert wanted is not None
        assert (read == wanted).all()
