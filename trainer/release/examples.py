"""A few test images for each cell of the confusion matrix, in one picture, for the page of a served model.

`examples.png` holds images side by side, those of more than 96 pixels a side made smaller; `examples.json` lists the
cells: {"size": [height, width] of an image, "columns": images in a row, "cells": [{"true": class, "predicted": class,
"first": index of the cell's first image, "count": its images}]}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from registry.disk import write_json
from trainer.data import pictures
from trainer.data.dataset import Split

PICTURE, INDEX = "examples.png", "examples.json"
OF_A_CELL = 8
COLUMNS = 24
MOST = 600  # images in all; of many classes, the most frequent confusions are shown
LARGEST_SIDE = 96  # pixels; the whole sheet of larger images would take gigabytes


def draw(test: Split, predicted: np.ndarray, confusion: np.ndarray, directory: Path) -> None:
    """Write both files.

    Args:
        test: the test images with their true classes.
        predicted: int (n,), the predicted classes.
        confusion: int (classes, classes), row: true class, column: predicted class.
        directory: to write into.
    """
    labels = np.asarray(test.labels)
    cells: list[dict[str, int]] = []
    chosen: list[int] = []
    for place in np.argsort(-confusion, axis=None, kind="stable"):
        true, guess = (int(each) for each in np.unravel_index(place, confusion.shape))
        images = np.flatnonzero((labels == true) & (predicted == guess))[:OF_A_CELL]
        if not len(images) or len(chosen) + len(images) > MOST:
            break
        cells.append({"true": true, "predicted": guess, "first": len(chosen), "count": len(images)})
        chosen += images.tolist()
    height, width, channels = _size(test.images.shape[1:])
    rows = -(-len(chosen) // COLUMNS)
    sheet = np.zeros((rows * height, COLUMNS * width, channels), np.uint8)
    for place, index in enumerate(chosen):
        top, left = place // COLUMNS * height, place % COLUMNS * width
        sheet[top : top + height, left : left + width] = pictures.fit_array(
            test.images[index], (height, width, channels)
        )
    Image.fromarray(sheet.squeeze(axis=2) if channels == 1 else sheet).save(directory / PICTURE, optimize=True)
    write_json(directory / INDEX, {"size": [height, width], "columns": COLUMNS, "cells": cells})


def _size(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape in which an image of `shape` is shown."""
    height, width, channels = shape
    shrink = max(1, max(height, width) / LARGEST_SIDE)
    return max(1, round(height / shrink)), max(1, round(width / shrink)), channels
