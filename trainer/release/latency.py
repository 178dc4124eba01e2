"""How long an exported model takes for a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from registry.store import FLATBUFFER, SAVED_MODEL
from trainer.data.cache import images_at_once
from trainer.release.exported import Flatbuffer, SavedModel

BATCH = 32
WARM_UP, CALLS = 5, 50
LONGEST = 5.0  # seconds after which a slow model is not called again, once the warm-up is over


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
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < WARM_UP + CALLS and (len(taken) <= WARM_UP or time.perf_counter() - begin < LONGEST):
        start = time.perf_counter()
        model(images)
        taken.append(1000 * (time.perf_counter() - start))
    return taken[WARM_UP:]
