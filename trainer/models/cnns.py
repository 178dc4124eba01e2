"""The CNNs as pure functions of explicit arguments: the paper's two, and a residual network. Builders never compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from trainer.config import SMALLEST_SIDE
from trainer.models.layers import PixelBlock

Shape = tuple[int, int, int]
# The deviation, in levels of 255, that is added (by its square) to an image's own before standardizing divides by it:
# a blank image stays blank instead of becoming noise.
LEAST_DEVIATION = 8
NORMALIZED = "_normalized"  # ends the name of a batch normalization, after the name of the convolution before it


def basic_cnn(
    shape: Shape, classes: int, dropout: float = 0.0, normalization: str = "scale", fast: bool = False
) -> keras.Model:
    """The paper's model 1: one convolution block and one hidden dense layer.

    Args:
        shape: height, width and channels of an image; the model takes raw pixels 0..255.
        classes: how many classes it distinguishes.
        dropout: rate of the dropout before the hidden dense layer.
        normalization: `scale` divides pixels by 255; `standardize` subtracts each image's mean and divides by its
            standard deviation, so that the light it was taken in makes no difference.
        fast: whether a `PixelBlock` computes the first block, from the same weights. TensorFlow needs less time for
            it on a CPU, but Keras loads it only where this package is imported.

    Returns:
        A model from (batch, *shape) to float32 logits (batch, classes); 402,986 parameters
        for Fashion-MNIST's (28, 28, 1) and 10.
    """
    images = keras.Input(shape, name="images")
    x = _first_block(_normalized(images, normalization), 16, fast)
    x = _head(x, [128], dropout)
    return keras.Model(images, _logits(x, classes), name="basic")


def deep_cnn(
    shape: Shape, classes: int, dropout: float = 0.0, normalization: str = "scale", fast: bool = False
) -> keras.Model:
    """The paper's model 2: two convolution blocks and two hidden dense layers.

    Takes and returns what `basic_cnn` does; 334,154 parameters for Fashion-MNIST.
    """
    images = keras.Input(shape, name="images")
    x = _first_block(_normalized(images, normalization), 16, fast)
    x = layers.Conv2D(32, 3, activation="relu", name="conv2")(x)
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = _head(x, [256, 128], dropout)
    return keras.Model(images, _logits(x, classes), name="deep")


def residual_cnn(
    shape: Shape, classes: int, dropout: float = 0.0, normalization: str = "scale", fast: bool = False
) -> keras.Model:
    """A residual network for harder data: a convolution block, three residual ones, and the mean over all places.

    Takes and returns what `basic_cnn` does; its dropout is before the last layer. 334,794 parameters for
    Fashion-MNIST. Source: K. He et al., "Deep residual learning for image recognition" (2015).
    """
    images = keras.Input(shape, name="images")
    x = _first_block(_normalized(images, normalization), 32, fast)
    x = _residual_block(x, 48, 1, "block2")
    x = _residual_block(x, 96, 2, "block3")
    x = _residual_block(x, 96, 1, "block4")
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, _logits(x, classes), name="residual")


def check_size(model: str, shape: Shape) -> None:
    """Raises ValueError for images that are too small for the model `model`."""
    if min(shape[:2]) < SMALLEST_SIDE[model]:
        raise ValueError(
            f"The model {model} needs images of at least {SMALLEST_SIDE[model]} pixels a side. "
            f"Received: {shape[0]}x{shape[1]}."
        )


MODELS: dict[str, Callable[..., keras.Model]] = {"basic": basic_cnn, "deep": deep_cnn, "residual": residual_cnn}


def fast_form(model: keras.Model) -> keras.Model:
    """A copy of one of these models that answers alike in less time on a CPU; it cannot be trained further.

    A `PixelBlock` is its first block, and its convolutions do what batch normalization did after them. A model of the
    user's own is returned as it is.
    """
    if model.name not in MODELS:
        return model
    normalization = model.layers[1].name
    copy = MODELS[model.name](model.input_shape[1:], model.output_shape[-1], normalization=normalization, fast=True)
    copy.set_weights(model.get_weights())
    return _folded(copy)


def _folded(model: keras.Model) -> keras.Model:
    """A copy without batch normalization: its scale and shift are in the kernel and bias of the convolution before."""
    normalizations = {each.name: each for each in model.layers if isinstance(each, layers.BatchNormalization)}

    def clone(layer: keras.Layer) -> keras.Layer:
        bias = {"use_bias": True} if f"{layer.name}{NORMALIZED}" in normalizations else {}
        return type(layer).from_config(layer.get_config() | bias)

    def call(layer: keras.Layer, x: Any, **options: Any) -> Any:
        return x if layer.name in normalizations else layer(x, **options)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        weights = model.get_layer(layer.name).get_weights()
        if normalization := normalizations.get(f"{layer.name}{NORMALIZED}"):
            gamma, beta, mean, variance = normalization.get_weights()
            scale = gamma / np.sqrt(variance + normalization.epsilon)
            weights = [weights[0] * scale, beta - mean * scale]
        layer.set_weights(weights)
    return copy


def _normalized(images: keras.KerasTensor, normalization: str) -> keras.KerasTensor:
    # In float32 whatever the precision policy: half precision has no room for squares of levels.
    if normalization == "scale":
        return layers.Rescaling(1 / 255, name="scale")(images)
    return layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=LEAST_DEVIATION**2, center=False, scale=False, dtype="float32", name="standardize"
    )(images)


def _first_block(x: keras.KerasTensor, filters: int, fast: bool) -> keras.KerasTensor:
    if fast:
        return PixelBlock(filters, name="block1")(x)
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="conv1")(x)
    return layers.AveragePooling2D(2, name="pool1")(x)


def _residual_block(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    """Two convolutions, added to their input, or to what one convolution of size 1 makes of it."""
    y = _normalized_convolution(x, filters, 3, strides, f"{name}_conv1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _normalized_convolution(y, filters, 3, 1, f"{name}_conv2")
    if x.shape[1:] != y.shape[1:]:
        x = _normalized_convolution(x, filters, 1, strides, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_sum")([x, y]))


def _normalized_convolution(
    x: keras.KerasTensor, filters: int, size: int, strides: int, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(x)
    # A tenth a step: an epoch of a small set has few, and its statistics must be of the weights as they are now.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}{NORMALIZED}")(x)


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
