"""The export of a model: a SavedModel and a flatbuffer, raw pixels in, probabilities out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from registry.disk import write_whole
from registry.store import FLATBUFFER
from registry.text import first_line
from trainer.data.cache import images_at_once
from trainer.models.cnns import fast_form
from trainer.release.exported import INPUT, OUTPUT, SIGNATURE, Flatbuffer, SavedModel

COMPARED = 64  # images on which both forms must agree; fewer of a large size


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


def export(model: keras.Model, directory: Path, temperature: float, tolerance: float) -> dict[str, float | str]:
    """Writes the SavedModel and, beside it, the flatbuffer of a model that `build` made into an existing directory.

    Each has the form that its runtime computes faster: on a CPU, TensorFlow takes twice as long for a batch with
    Keras's convolution in place of the `PixelBlock`, for which LiteRT has no kernel.

    Args:
        tolerance: the most that a probability of the flatbuffer may differ from the SavedModel's.

    Returns:
        {"difference": the most that one differed}, or {"left_out": why there is no flatbuffer}.

    Raises:
        OSError: the disk is full or may not be written.
    """
    fast = fast_form(model)
    export_saved_model(fast, directory, temperature)
    if fast is model:  # the user's own
        return try_flatbuffer(directory, directory, tolerance)
    with tempfile.TemporaryDirectory(prefix=".litert-", dir=directory.parent) as source:
        export_saved_model(model, Path(source), temperature)
        return try_flatbuffer(Path(source), directory, tolerance)


def try_flatbuffer(source: Path, directory: Path, tolerance: float) -> dict[str, float | str]:
    """Adds the flatbuffer if it can be made; arguments as of `add_flatbuffer`, result as of `export`."""
    try:
        return {"difference": add_flatbuffer(source, directory, tolerance)}
    except Exception as error:  # the converter raises anything, and a trained model must not be lost for it
        reason = first_line(error)
        print(f"The model gets no LiteRT form, so RUNTIME=litert cannot serve it: {reason}", flush=True)
        return {"left_out": reason}


def add_flatbuffer(source: Path, directory: Path, tolerance: float) -> float:
    """Adds a SavedModel's second form, LiteRT's in float32, which answers without TensorFlow in the process.

    Args:
        source: directory of a SavedModel of the same model, in the form to convert.
        directory: of the SavedModel that is served.
        tolerance: the most that a probability may differ. The two sum in another order, which costs some 1e-6 in
            the logits; a temperature of 0.05 makes 20 times as much of it.

    Returns:
        The most that a probability differed, on random images.

    Raises:
        ValueError: it differed by more; nothing is written.
        OSError: the disk is full or may not be written.
    """
    content = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE]).convert()
    model = SavedModel(directory)
    count = min(COMPARED, images_at_once(model.shape))
    images = np.random.default_rng(0).integers(0, 256, (count, *model.shape), np.uint8)
    difference = float(np.abs(Flatbuffer(content)(images) - model(images)).max())
    # Written so that NaN is refused as well.
    if not difference <= tolerance:
        raise ValueError(
            f"The flatbuffer must answer as the SavedModel does, within {tolerance:g}. "
            f"Received: a difference of {difference:.2g}."
        )
    (directory / FLATBUFFER).parent.mkdir(exist_ok=True)
    write_whole(directory / FLATBUFFER, content)
    return difference


def export_saved_model(model: keras.Model, directory: Path, temperature: float = 1.0) -> None:
    """Writes the SavedModel of `serving_model(model, temperature)` into an existing directory; any batch size fits.

    A model of another backend than TensorFlow is exported by a process of TensorFlow's, so that every SavedModel is
    made of TensorFlow's own operations: JAX's own would run on the kind of device only that it was traced on.

    Raises:
        OSError: the disk is full or may not be written.
    """
    if keras.backend.backend() != "tensorflow":
        _export_elsewhere(model, directory, temperature)
        return
    write_saved_model(directory, model, serving_model(model, temperature), model.input_shape[1:])


def write_saved_model(
    directory: Path, tracked: Any, serve: Callable[[tf.Tensor], dict[str, tf.Tensor]], shape: tuple[int, ...]
) -> None:
    """Writes a SavedModel into an existing directory.

    Args:
        tracked: what holds the variables of `serve`.
        serve: from raw pixels, float32 (batch, *shape), to {"probabilities": float32 (batch, classes)}.

    Raises:
        OSError: the disk is full or may not be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(tracked)
    spec = tf.TensorSpec((None, *shape), tf.float32, INPUT)
    try:
        archive.add_endpoint("serve", serve, input_signature=[spec])
        archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:  # TensorFlow's own kind, also for a full disk
        raise OSError(f"The SavedModel could not be written to {directory}: {error.message}.") from error


def _export_elsewhere(model: keras.Model, directory: Path, temperature: float) -> None:
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        command = [sys.executable, "-m", "trainer.release.export", str(saved), str(directory), str(temperature)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}."]
        raise OSError(f"The SavedModel could not be written to {directory}: {lines[-1]}")


if __name__ == "__main__":
    export_saved_model(keras.saving.load_model(sys.argv[1], compile=False), Path(sys.argv[2]), float(sys.argv[3]))
