"""An imported model as a version: a SavedModel and a flatbuffer that take raw pixels and give probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from registry.store import SAVED_MODEL
from trainer.imported.flatbuffer import wrapped
from trainer.imported.model import ImportedModel
from trainer.release import export as release
from trainer.release.export import FLATBUFFER, INPUT, OUTPUT, SIGNATURE, SavedModel, try_flatbuffer

Graph = Callable[[Any], Any]


def export(model: ImportedModel, path: Path, directory: Path, tolerance: float) -> dict[str, Any]:
    """Writes a version's model files into an existing directory.

    A TFLite file cannot become a SavedModel; its version has the flatbuffer alone, which RUNTIME=litert serves.

    Args:
        path: of the model's file.
        tolerance: the most that a probability of the flatbuffer may differ from the SavedModel's.

    Returns:
        The card's `metrics.litert`: as `trainer.release.export.export` has it, or {"only": True}.

    Raises:
        OSError: the disk is full or may not be written.
    """
    if (graph := model.source.graph) is None:
        (directory / FLATBUFFER).parent.mkdir()
        (directory / FLATBUFFER).write_bytes(wrapped(path, model))
        return {"only": True}
    _export_saved_model(model, graph, directory)
    return try_flatbuffer(directory, directory, tolerance)


def latency(directory: Path, images: np.ndarray) -> dict[str, Any]:
    """As `trainer.release.export.latency`, of the version in a directory: of its SavedModel where it has one."""
    if (directory / SAVED_MODEL).is_file():
        return release.latency(SavedModel(directory), images)
    with release.quiet():
        interpreter = Interpreter(str(directory / FLATBUFFER), num_threads=1)
        run = interpreter.get_signature_runner(SIGNATURE)
    any_size = interpreter.get_input_details()[0]["shape_signature"][0] < 0
    return release.latency(lambda asked: run(**{INPUT: asked.astype(np.float32)}), images if any_size else images[:1])


def _export_saved_model(model: ImportedModel, graph: Graph, directory: Path) -> None:
    source = model.source

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared = model.before(images)
        if source.input[0] is None:
            scores = graph(prepared)
        else:
            scores = tf.map_fn(lambda image: graph(image[None])[0], prepared, fn_output_signature=tf.float32)
        scores = tf.ensure_shape(scores, (None, source.units))
        return {OUTPUT: model.after(scores)}

    archive = keras.export.ExportArchive()
    archive.track(source.tracked)
    spec = tf.TensorSpec((None, *model.shape), tf.float32, INPUT)
    try:
        archive.add_endpoint("serve", serve, input_signature=[spec])
        archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:  # TensorFlow's own kind, also for a full disk
        raise OSError(f"The SavedModel could not be written to {directory}: {error.message}.") from error
