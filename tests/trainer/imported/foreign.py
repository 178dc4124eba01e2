"""Models that the trainer did not make, each with what its own framework answers to raw pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = tuple(f"class {number}" for number in range(10))
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@dataclass(frozen=True)
class Foreign:
    """A model's file, the options that importing it takes, its images' shape, and its own probabilities."""

    path: Path
    options: tuple[str, ...]
    shape: tuple[int, int, int]
    answer: Answer

    def images(self, count: int) -> NDArray[np.uint8]:
        return np.random.default_rng(count).integers(0, 256, (count, *self.shape), np.uint8)


def softmax(logits: Any) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def small(
    shape: tuple[int, ...] = (28, 28, 1), units: int = 10, activation: str | None = None, head: Any = None
) -> Any:
    """A Keras functional model with random weights, whose classes differ clearly."""
    import keras

    keras.utils.set_random_seed(0)
    images = keras.Input(shape)
    values = images if head is None else head(images)
    values = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(values)
    scores = keras.layers.Dense(units, activation=activation, kernel_initializer="he_normal")(
        keras.layers.Flatten()(values)
    )
    return keras.Model(images, scores)


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def softmax_keras(folder: Path) -> Foreign:
    """A Keras functional model that takes 0..255 and gives probabilities."""
    import keras

    model = small(activation="softmax", head=keras.layers.Rescaling(1 / 255))
    path = saved(model, folder / "softmax.keras")
    return Foreign(path, (), (28, 28, 1), lambda images: np.asarray(model(images.astype(np.float32)), float))


def logits_keras(folder: Path) -> Foreign:
    """A Keras functional model that gives logits, whose trainer divided by 255 outside of it."""
    model = small()
    path = saved(model, folder / "logits.keras")
    own = lambda images: softmax(model(images.astype(np.float32) / 255))  # noqa: E731
    return Foreign(path, ("--range", "0-1"), (28, 28, 1), own)


def mobile_keras(folder: Path) -> Foreign:
    """A MobileNetV2 of keras.applications for 224 x 224 colour images, with random weights."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, alpha=0.35, classes=10)
    # Without statistics of its own activations, a deep network with random weights answers every image alike.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(np.random.default_rng(0).uniform(-1, 1, (8, 224, 224, 3)).astype(np.float32), training=True)
    path = saved(model, folder / "mobile.keras")
    own = lambda images: np.asarray(model(images.astype(np.float32) / 127.5 - 1, training=False), float)  # noqa: E731
    return Foreign(path, ("--range", "-1-1"), (224, 224, 3), own)


def jax_saved_model(folder: Path) -> Foreign:
    """A function of JAX's, exported by jax2tf as a SavedModel; it gives logits for 0..1."""
    import jax
    import tensorflow as tf
    from jax.experimental import jax2tf

    first, second = (jax.random.normal(jax.random.key(seed), shape) for seed, shape in ((0, (784, 16)), (1, (16, 10))))

    def logits(images: Any) -> Any:
        return jax.nn.relu(images.reshape(images.shape[0], -1) @ first / 28) @ second

    module = tf.Module()
    spec = tf.TensorSpec((None, 28, 28, 1), tf.float32, name="pixels")
    converted = jax2tf.convert(logits, polymorphic_shapes=["(b, 28, 28, 1)"], with_gradient=False)
    module.f = tf.function(converted, autograph=False, input_signature=[spec])
    path = folder / "jax"
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.f})
    own = lambda images: softmax(logits(images.astype(np.float32) / 255))  # noqa: E731
    return Foreign(path, ("--range", "0-1"), (28, 28, 1), own)


def tflite_file(folder: Path) -> Foreign:
    """A TFLite file with logits, whose trainer divided by 255 outside of it."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "logits.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(small()).convert())
    run = Interpreter(str(path)).get_signature_runner()
    ((name, _),) = run.get_input_details().items()

    def own(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        (logits,) = run(**{name: images.astype(np.float32) / 255}).values()
        return softmax(logits)

    return Foreign(path, ("--range", "0-1"), (28, 28, 1), own)


MAKERS = {maker.__name__: maker for maker in (softmax_keras, logits_keras, mobile_keras, jax_saved_model, tflite_file)}
