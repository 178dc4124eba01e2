"""An imported model as a version: a SavedModel and a flatbuffer that take raw pixels and give probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from registry.store import FLATBUFFER
from trainer.imported.flatbuffer import wrapped
from trainer.imported.model import ImportedModel
from trainer.release.export import try_flatbuffer, write_saved_model
from trainer.release.exported import OUTPUT

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

    write_saved_model(directory, source.tracked, serve, model.shape)
