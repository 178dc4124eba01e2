"""Reads a TFLite file: what it takes and gives, and how LiteRT calls it; quantized integers count as real numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from registry.text import first_line
from trainer.imported.options import ImportedModelError
from trainer.imported.preprocessing import RANGES
from trainer.imported.source import Source, only
from trainer.release.exported import quiet

CLOSE = 0.02  # share of its width that a quantized input's range may differ by and count as one of RANGES


def read(path: Path) -> Source:
    """The model in a TFLite file.

    Raises:
        ImportedModelError: it does not load, or has several inputs or outputs.
    """
    try:
        with quiet():
            interpreter = Interpreter(str(path))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ImportedModelError(f"{path} does not load in LiteRT: {first_line(error)}") from error
    output_details = only(interpreter.get_output_details(), "output", path)
    input_details = only(interpreter.get_input_details(), "input", path)
    place = input_details["index"]

    def call(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(place, quantized(tf.constant(images), input_details).numpy())
        interpreter.invoke()
        return real(tf.constant(interpreter.get_tensor(output_details["index"])), output_details).numpy()

    return Source(
        "TFLite",
        _shape(input_details),
        _shape(output_details),
        "float32" if is_quantized(input_details) else np.dtype(input_details["dtype"]).name,
        call,
        0,
        _range(input_details),
    )


def is_quantized(tensor: dict[str, Any]) -> bool:
    """Whether a tensor, as the interpreter describes it, holds integers that stand for real numbers."""
    return tensor["quantization"][0] != 0


def quantized(values: tf.Tensor, tensor: dict[str, Any]) -> tf.Tensor:
    """Real numbers as the tensor takes them."""
    if not is_quantized(tensor):
        return values
    (scale, zero), limits = tensor["quantization"], np.iinfo(tensor["dtype"])
    rounded = tf.round(values / np.float32(scale)) + np.float32(zero)
    return tf.cast(tf.clip_by_value(rounded, float(limits.min), float(limits.max)), tensor["dtype"])


def real(values: tf.Tensor, tensor: dict[str, Any]) -> tf.Tensor:
    """float32 numbers that a tensor's values stand for."""
    values = tf.cast(values, tf.float32)
    if not is_quantized(tensor):
        return values
    scale, zero = tensor["quantization"]
    return (values - np.float32(zero)) * np.float32(scale)


def _shape(tensor: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else int(size) for size in tensor["shape_signature"])


def _range(tensor: dict[str, Any]) -> str | None:
    """The range of a quantized input's real numbers, where it is one of `RANGES` that are the same for all channels."""
    if not is_quantized(tensor):
        return None
    (scale, zero), limits = tensor["quantization"], np.iinfo(tensor["dtype"])
    low, high = scale * (limits.min - zero), scale * (limits.max - zero)
    for name in ("0-255", "0-1", "-1-1"):
        divisor, shift = RANGES[name]
        ends = -shift, 255 / divisor - shift
        if max(abs(low - ends[0]), abs(high - ends[1])) <= CLOSE * (ends[1] - ends[0]):
            return name
    return None
