"""From a Keras model to a SavedModel with a fixed signature: raw pixels in, probabilities out."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

INPUT = "images"
OUTPUT = "probabilities"


def serving_model(model: keras.Model, temperature: float = 1.0) -> keras.Model:
    """The model that clients see, its logits divided by the temperature so that they get calibrated probabilities.

    Takes `images`, float32 (batch, height, width, channels) of raw pixels 0..255, and returns
    {"probabilities": float32 (batch, classes)}.
    """
    images = keras.Input(model.input_shape[1:], dtype="float32", name=INPUT)
    logits = model(images, training=False)
    scaled = layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(logits)
    probabilities = layers.Softmax(dtype="float32", name=OUTPUT)(scaled)
    return keras.Model(images, {OUTPUT: probabilities}, name=model.name)


def export_saved_model(model: keras.Model, directory: Path, temperature: float = 1.0) -> None:
    """Writes the SavedModel of `serving_model(model, temperature)` into an existing directory; any batch size fits.

    Raises:
        OSError: the disk is full or may not be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name=INPUT)
    archive.add_endpoint("serve", serving_model(model, temperature), input_signature=[spec])
    try:
        archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:  # TensorFlow's own kind, also for a full disk
        raise OSError(f"The SavedModel could not be written to {directory}: {error.message}.") from error
