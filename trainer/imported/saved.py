"""Reads a Keras file and the directory of a SavedModel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from registry.text import first_line
from trainer.imported.options import ImportedModelError
from trainer.imported.source import Source, only
from trainer.release.exported import SIGNATURE


def keras_model(path: Path) -> Source:
    """The model in a Keras file.

    Raises:
        ImportedModelError: it does not load, or has several inputs or outputs.
    """
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything for a damaged file, a layer of the user's own, a Lambda
        raise ImportedModelError(
            f"{path} does not load in Keras {keras.__version__}: {first_line(error)} If it has a Lambda or layers of "
            "its own, import the directory that model.export(DIRECTORY) writes where it was made."
        ) from error
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    output_spec, input_spec = only(outputs, "output", path), only(inputs, "input", path)

    def graph(images: Any) -> Any:
        (scores,) = tf.nest.flatten(model(images, training=False))
        return tf.cast(scores, tf.float32)

    return Source(
        "Keras",
        tuple(input_spec.shape),
        tuple(output_spec.shape),
        input_spec.dtype,
        lambda images: graph(tf.constant(images)).numpy(),
        model.count_params(),
        _scaling(model),
        graph,
        model,
    )


def _scaling(model: keras.Model) -> str | None:
    """The range that a Keras model takes whose first layer scales pixels down."""
    first = next((each for each in model.layers if not isinstance(each, keras.layers.InputLayer)), None)
    if isinstance(first, keras.Model):
        return _scaling(first)
    takes_bytes = isinstance(first, keras.layers.Rescaling) and np.max(first.scale) <= 1 / 100
    return "0-255" if takes_bytes else None


def saved_model(path: Path, signature: str | None) -> Source:
    """The model in a SavedModel's directory, called by a signature; None for its only one, or `serving_default`.

    Raises:
        ImportedModelError: it does not load, has no such signature, or one of several inputs or outputs.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # a damaged one raises anything from OSError to TensorFlow's own kinds
        raise ImportedModelError(f"{path} does not load in TensorFlow {tf.__version__}: {first_line(error)}") from error
    names = sorted(loaded.signatures)
    name = signature or (SIGNATURE if SIGNATURE in names or len(names) != 1 else names[0])
    if name not in names:
        raise ImportedModelError(
            f"{path} must have the signature {name}. Received: {', '.join(names) or 'none'}; "
            + ("choose one with --signature." if names else f'save it with signatures={{"{SIGNATURE}": function}}.')
        )
    function = loaded.signatures[name]
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    output_spec, input_spec = only([*outputs.items()], "output", path), only([*inputs.items()], "input", path)

    def graph(images: Any) -> Any:
        return tf.cast(function(**{input_spec[0]: images})[output_spec[0]], tf.float32)

    input_shape, output_shape = (
        tuple(spec.shape) if spec.shape.rank is not None else () for _, spec in (input_spec, output_spec)
    )
    return Source(
        "SavedModel",
        input_shape,
        output_shape,
        input_spec[1].dtype.name,
        lambda images: graph(tf.constant(images)).numpy(),
        sum(int(np.prod(each.shape)) for each in function.variables),
        None,
        graph,
        loaded,
    )
