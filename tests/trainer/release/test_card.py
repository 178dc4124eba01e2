"""The card as text; and whether training images show items on black, and how large those are, measured for the card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from registry.store import ModelStore
from trainer.data.dataset import ImageDataset, Split
from trainer.release.card import as_markdown, items_on_black

pytestmark = pytest.mark.tensorflow


def boxes(side: int, background: int = 0, channels: int = 1) -> Split:
    images = np.full((20, 28, 28, channels), background, np.uint8)
    start = (28 - side) // 2
    images[:, start : start + side, 10:18] = 255 - background
    return Split(images, np.zeros(20, np.int64))


def test_fashion_mnist_shows_items_on_black_that_fill_the_frame(sample: ImageDataset) -> None:
    assert items_on_black(sample.train) == {"side": 28}


@pytest.mark.parametrize("side", [8, 20, 28])
def test_the_side_of_the_items_is_measured(side: int) -> None:
    assert items_on_black(boxes(side)) == {"side": side}


def test_images_on_white_and_in_colour_have_no_such_items_on_black() -> None:
    assert items_on_black(boxes(20, background=255)) is None
    assert items_on_black(boxes(20, channels=3)) is None


def test_the_text_has_the_times_of_both_runtimes_or_of_tensorflow_alone_in_a_run_of_an_earlier_version(
    artifacts: Path,
) -> None:
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    litert = card.metrics["litert_latency_ms"]
    times = f"{litert['single']:.2f} ({litert['single_p95']:.2f}) | {litert['batch']:.2f} ({litert['batch_p95']:.2f})"
    assert f"| LiteRT, one thread | {times} |\n" in as_markdown(card)

    earlier = {name: value for name, value in card.metrics.items() if name != "litert_latency_ms"}
    text = as_markdown(replace(card, metrics=earlier))
    assert "| runtime | 1 image | 32 images |" in text
    assert "LiteRT, one thread" not in text


def test_photographs_with_a_background_are_unlike_items_on_black_alone(artifacts: Path) -> None:
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    assert "Images unlike those of fashion_mnist_sample, such as photographs with a background, were" in as_markdown(
        card
    )
    photographs = replace(card, data=card.data | {"look": None})
    assert "Images unlike those of fashion_mnist_sample were not tested; do not rely" in as_markdown(photographs)
