"""A SavedModel on disk as a plain function, and how long it takes: the candidate's export, the version now served."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.cache import images_at_once, parts
from trainer.release.export import INPUT, OUTPUT

BATCH = 32
WARM_UP, CALLS = 5, 50


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
            self._signature = self._loaded.signatures["serving_default"]
        except Exception as error:  # a damaged one raises anything from OSError to TensorFlow's own kinds
            reason = str(error).strip().partition("\n")[0]
            raise SavedModelError(f"{directory} does not load: {type(error).__name__}: {reason}") from error
        if OUTPUT not in self._signature.structured_outputs:
            raise SavedModelError(f"{directory}: expected an output `{OUTPUT}` in its signature, found none.")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._signature(**{INPUT: tf.constant(np.asarray(images), tf.float32)})[OUTPUT].numpy()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """As a call, for any number of images: some at a time, so that they fit into memory."""
        return np.concatenate([self(images[part]) for part in parts(len(images), images.shape[1:])])


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call in this process, on `device`: the median, and what one in twenty exceeds."""

    single: float
    single_p95: float
    batch: float
    batch_p95: float
    batch_size: int
    device: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def latency(model: SavedModel, images: np.ndarray) -> Latency:
    """Times a SavedModel on one image and on a batch of up to `BATCH`, fewer of large ones; `images` uint8 (n, ...)."""
    batch = np.asarray(images[: min(BATCH, images_at_once(images.shape[1:]))])
    single, single_p95 = np.quantile(_milliseconds(model, batch[:1]), [0.5, 0.95]).tolist()
    batched, batched_p95 = np.quantile(_milliseconds(model, batch), [0.5, 0.95]).tolist()
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return Latency(single, single_p95, batched, batched_p95, len(batch), device)


def _milliseconds(model: SavedModel, images: np.ndarray) -> list[float]:
    taken = []
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        model(images)
        taken.append(1000 * (time.perf_counter() - start))
    return taken[WARM_UP:]
