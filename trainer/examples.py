"""A few test images for each cell of the confusion matrix, in one picture, for whoever looks at a served model.

`examples.png` holds images of the model's size side by side; `examples.json` says which of them show what:
{"size": [height, width], "columns": images a row, "cells": [{"true": class, "predicted": class, "first": place of the
first of its images, "count": how many}]}.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data import Split
from trainer.runs import write_json

PICTURE, INDEX = "examples.png", "examples.json"
OF_A_CELL = 8
COLUMNS = 24
MOST = 600  # images in all; of many classes, the most frequent confusions are shown


def draw(test: Split, predicted: np.ndarray, confusion: np.ndarray, directory: Path) -> None:
    """Write both files.

    Args:
        test: the test images with their true classes.
        predicted: int (n,), the class that the model called each.
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
    height, width, channels = test.images.shape[1:]
    rows = -(-len(chosen) // COLUMNS)
    sheet = np.zeros((rows * height, COLUMNS * width, channels), np.uint8)
    for place, index in enumerate(chosen):
        top, left = place // COLUMNS * height, place % COLUMNS * width
        sheet[top : top + height, left : left + width] = test.images[index]
    Image.fromarray(sheet.squeeze(axis=2) if channels == 1 else sheet).save(directory / PICTURE, optimize=True)
    write_json(directory / INDEX, {"size": [height, width], "columns": COLUMNS, "cells": cells})
