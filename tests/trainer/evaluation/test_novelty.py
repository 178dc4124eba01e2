"""The score tells strange images from those of the data set, whatever its size and colours."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation import novelty


def test_strange_images_are_told_from_test_images(sample: ImageDataset) -> None:
    found = novelty.measured(novelty.fit(sample), sample.test)
    assert found["flagged_test_images"] < 0.2
    assert found["kinds"].keys() == {"noise", "inverted contrast", "digits"}
    for kind in found["kinds"].values():
        assert kind["auroc"] > 0.9


def test_a_twentieth_of_the_validation_images_is_beyond_the_threshold(sample: ImageDataset) -> None:
    scores = novelty.fit(sample).scores(sample.validation.images)
    assert (scores > 1).mean() == pytest.approx(0.05, abs=0.01)


def test_the_test_images_fit_nothing(sample: ImageDataset) -> None:
    other = replace(sample, test=Split(255 - sample.test.images, sample.test.labels))
    assert (novelty.fit(sample).scores(sample.test.images) == novelty.fit(other).scores(sample.test.images)).all()


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 3, 1), (33, 20, 3)])
def test_images_of_any_size_and_colours_have_a_score(shape: tuple[int, int, int], tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 40, (60, *shape), np.uint8)
    split = Split(images, np.arange(60) % 3)
    dataset = ImageDataset("made", "here", ("a", "b", "c"), split, split, split, "0")
    fitted = novelty.fit(dataset)
    assert (fitted.scores(255 - images) > 1).all()
    fitted.write(tmp_path)
    assert set(np.load(tmp_path / novelty.NAME)) == {"rows", "columns", "whiten", "centers", "threshold"}


def test_images_that_do_not_differ_are_no_division_by_zero() -> None:
    split = Split(np.full((9, 28, 28, 1), 7, np.uint8), np.arange(9) % 3)
    fitted = novelty.fit(ImageDataset("made", "here", ("a", "b", "c"), split, split, split, "0"))
    assert np.isfinite(fitted.scores(split.images)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_are_looked_at_a_few_at_a_time(
    channels: int, sparse_images: Callable[..., np.ndarray], peak: Callable[..., int]
) -> None:
    split = Split(sparse_images(2000, 256, 256, channels), np.arange(2000) % 3)  # 131 MB of grey, thrice that of colour
    small = Split(split.images[:100], split.labels[:100])
    fitted = novelty.fit(ImageDataset("made", "here", ("a", "b", "c"), small, small, small, "0"))
    assert peak(lambda: novelty.measured(fitted, split)) < 50e6
