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
    for prepare in PREPARATIONS.values():
        test = prepare(sample).test
        assert (test.labels == sample.test.labels).all()
        assert (test.images[..., :1] == sample.test.images).all()


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


def test_every_other_training_image_becomes_noisy(sample: ImageDataset) -> None:
    images = PREPARATIONS["noisy"](sample).train.images
    changed = (images != sample.train.images).any(axis=(1, 2, 3))
    assert changed[::2].all()
    assert not changed[1::2].any()
