"""PixelBlock is Keras's convolution, ReLU and average pooling, weight for weight."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.models.layers import PixelBlock

pytestmark = pytest.mark.tensorflow


def twins(shape: tuple[int, int, int]) -> tuple[keras.Model, keras.Model]:
    ours = keras.Sequential([keras.Input(shape), PixelBlock(16)])
    convolution = layers.Conv2D(16, 3, padding="same", activation="relu")
    theirs = keras.Sequential([keras.Input(shape), convolution, layers.AveragePooling2D(2)])
    generator = np.random.default_rng(0)
    ours.set_weights([generator.normal(size=weight.shape) for weight in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    return ours, theirs


SHAPES = [(28, 28, 1), (32, 32, 3), (27, 29, 1), (5, 4, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_are_those_of_convolution_and_pooling(shape: tuple[int, int, int]) -> None:
    ours, theirs = twins(shape)
    images = np.random.default_rng(1).uniform(size=(3, *shape)).astype(np.float32)
    assert ours.output_shape == theirs.output_shape
    np.testing.assert_allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_convolution_and_pooling(shape: tuple[int, int, int]) -> None:
    images = tf.constant(np.random.default_rng(1).uniform(size=(3, *shape)), tf.float32)
    gradients = []
    for model in twins(shape):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images) ** 2)
        gradients.append(tape.gradient(loss, model.trainable_weights))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-2)


def test_a_model_that_an_earlier_version_saved_with_it_still_loads(tmp_path: Path) -> None:
    ours, _ = twins((28, 28, 1))
    ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.ones((2, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(ours(images), loaded(images))


def test_it_starts_where_keras_would_start() -> None:
    keras.utils.set_random_seed(0)
    limit = np.sqrt(6 / (9 * 1 + 9 * 16))  # Glorot and Bengio 2010, equation 16
    kernel = twins_kernel()
    assert np.abs(kernel).max() <= limit
    assert np.abs(kernel).max() > 0.8 * limit


def twins_kernel() -> np.ndarray:
    block = PixelBlock(16)
    block.build((None, 28, 28, 1))
    return keras.ops.convert_to_numpy(block.kernel)
