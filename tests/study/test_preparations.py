"""What is done to the data before training; the test labels stay unused."""

import numpy as np
import pytest

from study.experiments import PAIR
from study.preparations import PREPARATIONS
from trainer.data.dataset import ImageDataset

pytestmark = pytest.mark.tensorflow


def of_pair(sample: ImageDataset, labels: np.ndarray) -> int:
    return int(np.isin(labels, [sample.classes.index(name) for name in PAIR]).sum())


def test_test_images_stay_but_for_their_description(sample: ImageDataset) -> None:
    for name, prepare in PREPARATIONS.items():
        test = prepare(sample).test
        assert (test.labels == sample.test.labels).all()
        assert name == "photographs" or (test.images[..., :1] == sample.test.images).all()


def test_details_are_grey_where_an_image_is_even(sample: ImageDataset) -> None:
    prepared = PREPARATIONS["details"](sample)
    assert prepared.shape == (28, 28, 2)
    even = sample.train.images[0, :3, :3, 0] == 0
    assert (prepared.train.images[0, :2, :2, 1][even[:2, :2]] == 128).all()


def test_twice_adds_the_pair_and_nothing_else(sample: ImageDataset) -> None:
    added = PREPARATIONS["pair twice"](sample).train.labels[len(sample.train) :]
    assert len(added) == of_pair(sample, sample.train.labels) == of_pair(sample, added)


def test_a_specialist_learns_the_pair_alone(sample: ImageDataset) -> None:
    prepared = PREPARATIONS["pair only"](sample)
    assert len(prepared.train) == of_pair(sample, prepared.train.labels) == of_pair(sample, sample.train.labels)
    assert len(prepared.validation) == of_pair(sample, prepared.validation.labels)


def test_on_photographs_the_black_of_an_image_is_covered_and_its_shape_stays(sample: ImageDataset) -> None:
    prepared = PREPARATIONS["photographs"](sample)
    assert prepared.shape == (28, 28, 3)
    assert len(prepared.train) == len(sample.train) // 5
    images, plain = prepared.test.images, sample.test.images
    assert images[np.broadcast_to(plain == 0, images.shape)].mean() > 60
    # One colour for the whole of an image: each channel is its levels times a factor from 0.3 to 1.
    bright = plain[..., 0] > 128
    factors = images[bright] / plain[bright]
    assert 0.29 < factors.min() < 0.35
    assert 0.95 < factors.max() < 1.01
    one = images[0][bright[0]] / plain[0][bright[0]]
    assert one.std(axis=0).max() < 0.01


def test_images_on_photographs_are_the_same_in_every_run(sample: ImageDataset) -> None:
    first, second = (PREPARATIONS["photographs"](sample) for _ in range(2))
    assert (first.train.images == second.train.images).all()
