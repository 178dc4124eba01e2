"""A second form of the same model: LiteRT's flatbuffer, which answers without TensorFlow in the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from trainer.data.cache import images_at_once
from trainer.release.thresholds import Thresholds

FLATBUFFER = Path("assets.extra") / "model.tflite"  # where in a version the service looks for it
SIGNATURE = "serving_default"
IMAGES = 64  # random ones, on which both must agree; fewer of a large size


def convert(source: Path, saved_model: Path, target: Path, tolerance: float = Thresholds.infra_tolerance) -> float:
    """Writes a model as a flatbuffer, in float32, once it answers as the SavedModel does.

    Args:
        source: directory of a SavedModel of the model, in the form to convert.
        saved_model: directory of the SavedModel that is served; its signature has one input, (n, height,
            width, channels) float32 of 0..255, and one output.
        target: the file to write; its directory is made.
        tolerance: the most that a probability may differ. The two sum in another order, which costs some 1e-6 in
            the logits; a temperature of 0.05 makes 20 times as much of it.

    Returns:
        The most that a probability differed.

    Raises:
        ValueError: the flatbuffer's answers differ from the SavedModel's.
        OSError: the disk refuses.
    """
    content = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE]).convert()
    # Kept, because a signature alone does not keep the model's variables alive.
    loaded = tf.saved_model.load(str(saved_model))
    signature = loaded.signatures[SIGNATURE]
    ((name, spec),) = signature.structured_input_signature[1].items()
    count = min(IMAGES, images_at_once(spec.shape[1:]))
    images = np.random.default_rng(0).integers(0, 256, (count, *spec.shape[1:]), np.uint8).astype(np.float32)
    (expected,) = signature(**{name: tf.constant(images)}).values()
    with _quiet():
        runner = Interpreter(model_content=content).get_signature_runner(SIGNATURE)
        (answers,) = runner(**{name: images}).values()
    difference = float(np.abs(answers - expected.numpy()).max())
    # Written so that NaN is refused as well.
    if not difference <= tolerance:
        raise ValueError(
            f"The flatbuffer must answer as the SavedModel does, within {tolerance:g}. "
            f"Received: a difference of {difference:.2g}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
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
