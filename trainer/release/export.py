"""The export of a model: a SavedModel and a flatbuffer, raw pixels in, probabilities out; and how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from registry.disk import write_whole
from registry.store import SAVED_MODEL
from trainer.data.cache import images_at_once, parts
from trainer.models.cnns import fast_form

INPUT = "images"
OUTPUT = "probabilities"
SIGNATURE = "serving_default"
FLATBUFFER = Path("assets.extra") / "model.tflite"  # where in a version the service expects it
COMPARED = 64  # images on which both forms must agree; fewer of a large size
BATCH = 32
WARM_UP, CALLS = 5, 50


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
    export_saved_model(fast_form(model), directory, temperature)
    with tempfile.TemporaryDirectory(prefix=".litert-", dir=directory.parent) as source:
        export_saved_model(model, Path(source), temperature)
        return try_flatbuffer(Path(source), directory, tolerance)


def try_flatbuffer(source: Path, directory: Path, tolerance: float) -> dict[str, float | str]:
    """Adds the flatbuffer if it can be made; arguments as of `add_flatbuffer`, result as of `export`."""
    try:
        return {"difference": add_flatbuffer(source, directory, tolerance)}
    except Exception as error:  # the converter raises anything, and a trained model must not be lost for it
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
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


@contextmanager
def quiet() -> Iterator[None]:
    """Discards stderr: LiteRT logs its delegate there from C++, and has no option against it."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name=INPUT)
    try:
        archive.add_endpoint("serve", serving_model(model, temperature), input_signature=[spec])
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
        raise OSError(f"The SavedModel could not be written to {directory}: {done.stderr.strip().splitlines()[-1]}")


class SavedModelError(RuntimeError):
    """A SavedModel that does not load or has another signature than this project's."""


class SavedModel:
    """Takes uint8 images (n, height, width, channels), gives float32 probabilities (n, classes).

    Raises:
        SavedModelError: it does not load, or its signature is another.
    """

    def __init__(self, directory: Path) -> None:
        try:
            # Kept, because a signature alone does not keep the model's variables alive.
            self._loaded = tf.saved_model.load(str(directory))
            self._signature = self._loaded.signatures[SIGNATURE]
        except Exception as error:  # a damaged one raises anything from OSError to TensorFlow's own kinds
            reason = str(error).strip().partition("\n")[0]
            raise SavedModelError(f"{directory} does not load: {type(error).__name__}: {reason}") from error
        if OUTPUT not in self._signature.structured_outputs:
            raise SavedModelError(f"{directory}: expected an output `{OUTPUT}` in its signature, found none.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return tuple(self._signature.structured_input_signature[1][INPUT].shape[1:])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._signature(**{INPUT: tf.constant(np.asarray(images), tf.float32)})[OUTPUT].numpy()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """As a call, for any number of images: some at a time, so that they fit into memory."""
        return np.concatenate([self(images[part]) for part in parts(len(images), images.shape[1:])])


class Flatbuffer:
    """Takes uint8 images (n, height, width, channels), gives float32 probabilities (n, classes).

    It computes with one thread, as the service does by default.

    Raises:
        SavedModelError: it does not load.
    """

    def __init__(self, content: bytes) -> None:
        try:
            with quiet():
                interpreter = Interpreter(model_content=content, num_threads=1)
                interpreter.allocate_tensors()
                self._run = interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise SavedModelError(f"The flatbuffer does not load: {error}") from error
        (wanted,) = interpreter.get_input_details()
        self._one = wanted["shape_signature"][0] == 1  # a TFLite file that was imported may take no more at once

    def __call__(self, images: np.ndarray) -> np.ndarray:
        batches = np.split(images, len(images)) if self._one else [images]
        return np.concatenate([self._run(**{INPUT: np.asarray(batch, np.float32)})[OUTPUT] for batch in batches])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """As a call, for any number of images: some at a time, so that they fit into memory."""
        return np.concatenate([self(images[part]) for part in parts(len(images), images.shape[1:])])


def loaded(version: Path) -> SavedModel | Flatbuffer:
    """The model of a version, which may have been imported from a TFLite file and have no SavedModel.

    Raises:
        SavedModelError: it does not load, or its signature is another.
    """
    only_flatbuffer = (version / FLATBUFFER).is_file() and not (version / SAVED_MODEL).is_file()
    return Flatbuffer((version / FLATBUFFER).read_bytes()) if only_flatbuffer else SavedModel(version)


def latencies(directory: Path, images: np.ndarray) -> dict[str, Any]:
    """What `latency` measures of both forms of an export.

    Returns:
        {"latency_ms": of the SavedModel, with all of TensorFlow's threads, "litert_latency_ms": of the flatbuffer, with
        one thread}; None for a form that the export does not have.
    """
    path = directory / FLATBUFFER
    litert = latency(Flatbuffer(path.read_bytes()), images) | {"device": "CPU"} if path.is_file() else None
    tensorflow = latency(SavedModel(directory), images) if (directory / SAVED_MODEL).is_file() else None
    return {"latency_ms": tensorflow, "litert_latency_ms": litert}


def latency(model: Callable[[np.ndarray], Any], images: np.ndarray) -> dict[str, Any]:
    """Milliseconds of a call in this process, for one of uint8 (n, ...) images and for a batch.

    Returns:
        {"single": median, "single_p95": what one call in twenty exceeds, "batch", "batch_p95", "batch_size": `BATCH`,
        fewer where there are fewer images or they are large, "device": GPU or CPU}.
    """
    batch = np.asarray(images[: min(BATCH, images_at_once(images.shape[1:]))])
    measured: dict[str, Any] = {}
    for name, asked in (("single", batch[:1]), ("batch", batch)):
        measured[name], measured[f"{name}_p95"] = np.quantile(_milliseconds(model, asked), [0.5, 0.95]).tolist()
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return measured | {"batch_size": len(batch), "device": device}


def _milliseconds(model: Callable[[np.ndarray], Any], images: np.ndarray) -> list[float]:
    taken = []
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        model(images)
        taken.append(1000 * (time.perf_counter() - start))
    return taken[WARM_UP:]


if __name__ == "__main__":
    export_saved_model(keras.saving.load_model(sys.argv[1], compile=False), Path(sys.argv[2]), float(sys.argv[3]))
