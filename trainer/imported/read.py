"""Reads a model that another trainer made, whatever its format, and refuses what is no image classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras

from registry.store import SAVED_MODEL
from trainer.imported import saved, tflite
from trainer.imported.options import ImportedModelError, ImportOptions
from trainer.imported.source import COLOURS, Source

KERAS = (".keras", ".h5", ".hdf5")
TFLITE = ".tflite"
EXPECTED = "a .keras file, a directory with saved_model.pb, or a .tflite file"


def read(options: ImportOptions) -> Source:
    """The model in a file, which maps one tensor of images to one of scores.

    Raises:
        ImportedModelError: it is no such model, or does not load.
        OSError: it is not there.
    """
    path = options.path
    if keras.backend.backend() != "tensorflow":
        raise ImportedModelError(
            f"`KERAS_BACKEND` must be tensorflow for an import. Received: {keras.backend.backend()}."
        )
    if not path.exists() or (path.is_dir() and not (path / SAVED_MODEL).is_file()):
        received = f"a directory without {SAVED_MODEL}" if path.exists() else "a path with nothing there"
        raise ImportedModelError(f"{path} must be {EXPECTED}. Received: {received}.")
    if path.suffix in KERAS:
        source = saved.keras_model(path)
    elif path.is_dir():
        source = saved.saved_model(path, options.signature)
    elif path.suffix == TFLITE:
        source = tflite.read(path)
    else:
        raise ImportedModelError(
            f"{path} must be {EXPECTED}. Convert other formats first: PyTorch by litert-torch, ONNX by onnx2tf."
        )
    _check(source, path)
    # Integers can be raw pixels only.
    return replace(source, range="0-255") if source.dtype == "uint8" else source


def _check(source: Source, path: Path) -> None:
    """Raises ImportedModelError for a model that does not map images to class scores."""
    input_shape, output_shape = (
        "(" + ", ".join("any" if each is None else str(each) for each in shape) + ")"
        for shape in (source.input, source.output)
    )
    if len(source.input) != 3 and not (source.has_channels and {source.input[1], source.input[3]} & {*COLOURS}):
        raise ImportedModelError(
            f"{path} must take images of shape (batch, height, width, 1 or 3), with the channels before the height, or "
            f"grey ones without channels. Received: {input_shape}. A classifier of other data cannot be served here."
        )
    if len(source.output) != 2 or not source.output[1]:
        raise ImportedModelError(
            f"{path} must give scores of shape (batch, classes). Received: {output_shape}; detection and segmentation "
            "models cannot be served here, and a feature extractor needs a classifier on top."
        )
    if (batch := source.input[0]) not in (None, 1):
        raise ImportedModelError(
            f"{path} must take batches of any size, or one image. Received: batches of {batch}; "
            "export it with an open batch dimension (None, or -1)."
        )
    if source.dtype not in ("float16", "float32", "float64", "uint8"):
        raise ImportedModelError(f"{path} must take floats or uint8. Received: {source.dtype}; put a cast before it.")
