"""An exported model as a function: uint8 images in, probabilities out, by TensorFlow or LiteRT."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from registry.store import FLATBUFFER, SAVED_MODEL
from registry.text import first_line
from trainer.backend import stderr_to
from trainer.data.cache import parts

INPUT = "images"
OUTPUT = "probabilities"
SIGNATURE = "serving_default"


class SavedModelError(ValueError):
    """A SavedModel that does not load or has another signature than this project's."""


class _Exported(ABC):
    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 probabilities (n, classes) of uint8 images (n, height, width, channels)."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """As a call, for any number of images: some at a time, so that they fit into memory."""
        return np.concatenate([self(images[part]) for part in parts(len(images), images.shape[1:])])


class SavedModel(_Exported):
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
            raise SavedModelError(f"{directory} does not load: {type(error).__name__}: {first_line(error)}") from error
        if OUTPUT not in self._signature.structured_outputs:
            raise SavedModelError(f"{directory}: expected an output `{OUTPUT}` in its signature, found none.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return tuple(self._signature.structured_input_signature[1][INPUT].shape[1:])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._signature(**{INPUT: tf.constant(np.asarray(images), tf.float32)})[OUTPUT].numpy()


class Flatbuffer(_Exported):
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
        (details,) = interpreter.get_input_details()
        self._one = details["shape_signature"][0] == 1  # a TFLite file that was imported may take no more at once

    def __call__(self, images: np.ndarray) -> np.ndarray:
        batches = np.split(images, len(images)) if self._one else [images]
        return np.concatenate([self._run(**{INPUT: np.asarray(batch, np.float32)})[OUTPUT] for batch in batches])


def loaded(version: Path) -> SavedModel | Flatbuffer:
    """The model of a version, which may have been imported from a TFLite file and have no SavedModel.

    Raises:
        SavedModelError: it does not load, or its signature is another.
    """
    only_flatbuffer = (version / FLATBUFFER).is_file() and not (version / SAVED_MODEL).is_file()
    return Flatbuffer((version / FLATBUFFER).read_bytes()) if only_flatbuffer else SavedModel(version)


@contextmanager
def quiet() -> Iterator[None]:
    """Discards stderr: LiteRT logs its delegate there from C++, and has no option against it."""
    with open(os.devnull, "wb") as nowhere, stderr_to(nowhere):
        yield
