"""The paper's two CNNs as pure functions of explicit arguments. Builders never compile."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from trainer.models.layers import PixelBlock

Shape = tuple[int, int, int]


def basic_cnn(shape: Shape, classes: int, dropout: float = 0.0, fast: bool = False) -> keras.Model:
    """The paper's model 1: one convolution block and one hidden dense layer.

    Args:
        shape: height, width and channels of an image; the model takes raw pixels 0..255.
        classes: how many classes it distinguishes.
        dropout: rate of the dropout before the hidden dense layer.
        fast: whether a `PixelBlock` computes the first block, from the same weights. TensorFlow needs less time for
            it on a CPU, but Keras loads it only where this package is imported.

    Returns:
        A model from (batch, *shape) to float32 logits (batch, classes); 402,986 parameters
        for Fashion-MNIST's (28, 28, 1) and 10.
    """
    images = keras.Input(shape, name="images")
    x = layers.Rescaling(1 / 255, name="rescale")(images)
    x = _first_block(x, fast)
    x = _head(x, [128], dropout)
    return keras.Model(images, _logits(x, classes), name="basic")


def deep_cnn(shape: Shape, classes: int, dropout: float = 0.0, fast: bool = False) -> keras.Model:
    """The paper's model 2: two convolution blocks and two hidden dense layers.

    Takes and returns what `basic_cnn` does; 334,154 parameters for Fashion-MNIST.
    """
    images = keras.Input(shape, name="images")
    x = layers.Rescaling(1 / 255, name="rescale")(images)
    x = _first_block(x, fast)
    x = layers.Conv2D(32, 3, activation="relu", name="conv2")(x)
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = _head(x, [256, 128], dropout)
    return keras.Model(images, _logits(x, classes), name="deep")


SMALLEST_SIDE = {"basic": 2, "deep": 8}  # pixels of which the last pooling leaves one


def check_size(model: str, shape: Shape) -> None:
    """Raises ValueError for images that are too small for the model `model`."""
    if min(shape[:2]) < SMALLEST_SIDE[model]:
        raise ValueError(
            f"The model {model} needs images of at least {SMALLEST_SIDE[model]} pixels a side. "
            f"Received: {shape[0]}x{shape[1]}."
        )


MODELS: dict[str, Callable[..., keras.Model]] = {"basic": basic_cnn, "deep": deep_cnn}


def fast_form(model: keras.Model) -> keras.Model:
    """A copy of one of these models with a `PixelBlock` as its first block."""
    copy = MODELS[model.name](model.input_shape[1:], model.output_shape[-1], fast=True)
    copy.set_weights(model.get_weights())
    return copy


def _first_block(x: keras.KerasTensor, fast: bool) -> keras.KerasTensor:
    if fast:
        return PixelBlock(16, name="block1")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(x)
    return layers.AveragePooling2D(2, name="pool1")(x)


def _head(x: keras.KerasTensor, widths: list[int], dropout: float) -> keras.KerasTensor:
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate(widths, start=1):
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
        x = layers.Dense(width, activation="relu", name=f"dense{number}")(x)
    return x


def _logits(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    # float32 whatever the precision policy: a half-precision softmax loses the small probabilities.
    return layers.Dense(classes, dtype="float32", name="logits")(x)
