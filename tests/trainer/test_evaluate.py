"""Accuracy comes with its interval."""

import keras
import numpy as np
import pytest

from trainer.data import ImageDataset
from trainer.evaluate import evaluate, wilson_interval


def test_wilson_interval_of_a_known_case() -> None:
    # The paper's 0.8711 on 10,000 images; bounds computed with scipy.stats.binomtest(...).proportion_ci("wilson").
    assert wilson_interval(8711, 10_000) == pytest.approx((0.8643896, 0.8775254), abs=1e-6)


def test_wilson_interval_stays_within_zero_and_one() -> None:
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == pytest.approx(1)
    assert wilson_interval(10, 10)[1] <= 1


def test_a_model_that_always_says_bag_gets_a_tenth_right(sample: ImageDataset) -> None:
    images = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(images)
    bias = np.eye(10, dtype=np.float32)[8]
    model = keras.Model(images, keras.layers.Dense(10, kernel_initializer="zeros")(flat))
    model.layers[-1].bias.assign(bias)
    evaluation = evaluate(model, sample.test, 10)
    assert evaluation.accuracy == 0.1
    assert evaluation.confusion[:, 8].tolist() == [20] * 10
    assert evaluation.confusion.sum() == 200
