"""Accuracy comes with its interval."""

import keras
import numpy as np
import pytest

from trainer.data.dataset import ImageDataset
from trainer.evaluation.intervals import wilson_interval
from trainer.evaluation.metrics import calibrated_temperature, evaluate

pytestmark = pytest.mark.tensorflow


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
    bag = evaluation.per_class(sample.classes)["Bag"]
    assert bag == {"precision": 0.1, "recall": 1.0, "f1": pytest.approx(0.2 / 1.1), "images": 20}
    # No image is named so, and none is found: 0, not a division by zero.
    assert evaluation.per_class(sample.classes)["Coat"] == {"precision": 0, "recall": 0, "f1": 0, "images": 20}


def test_the_temperature_changes_the_probabilities_and_no_prediction(sample: ImageDataset) -> None:
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    plain, flat = evaluate(model, sample.test, 10), evaluate(model, sample.test, 10, temperature=1000.0)
    assert plain.accuracy == flat.accuracy
    assert (plain.predicted == flat.predicted).all()
    assert flat.raw == plain.raw == plain.calibrated
    assert flat.calibrated.nll < plain.calibrated.nll
    assert flat.probabilities.max() < plain.probabilities.max()


def test_the_temperature_is_fitted_on_the_split_it_is_given(sample: ImageDataset) -> None:
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(sample.train.images, sample.train.labels, epochs=20, verbose=0)
    temperature = calibrated_temperature(model, sample.validation)
    fitted = evaluate(model, sample.validation, 10, temperature).calibrated.nll
    assert fitted < evaluate(model, sample.validation, 10, temperature * 1.1).calibrated.nll
    assert fitted < evaluate(model, sample.validation, 10, temperature / 1.1).calibrated.nll
