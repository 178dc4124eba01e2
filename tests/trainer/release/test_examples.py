"""The images kept for a cell of the confusion matrix are test images of that cell."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data.dataset import ImageDataset, Split
from trainer.release import examples

pytestmark = pytest.mark.tensorflow


def test_each_cell_shows_test_images_that_were_called_so(sample: ImageDataset, tmp_path: Path) -> None:
    labels = np.asarray(sample.test.labels)
    predicted = np.where(np.arange(len(labels)) % 3 == 0, (labels + 1) % 10, labels)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    examples.draw(sample.test, predicted, confusion, tmp_path)
    index = json.loads((tmp_path / examples.INDEX).read_text())
    sheet = np.asarray(Image.open(tmp_path / examples.PICTURE))
    assert len(index["cells"]) == 20
    for cell in index["cells"]:
        fitting = sample.test.images[(labels == cell["true"]) & (predicted == cell["predicted"])]
        assert cell["count"] == min(len(fitting), examples.OF_A_CELL)
        row, column = divmod(cell["first"], index["columns"])
        shown = sheet[28 * row : 28 * (row + 1), 28 * column : 28 * (column + 1)]
        assert (shown == fitting[0, ..., 0]).all()


def test_of_many_classes_the_most_frequent_cells_are_shown(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(200), 8)[:-4]  # 1,596 images, of the last class half as many
    split = Split(np.zeros((len(labels), 8, 8, 1), np.uint8), labels)
    confusion = np.diag(np.bincount(labels))
    examples.draw(split, labels, confusion, tmp_path)
    cells = json.loads((tmp_path / examples.INDEX).read_text())["cells"]
    assert sum(cell["count"] for cell in cells) == 600
    assert all(confusion[cell["true"], cell["predicted"]] == 8 for cell in cells)
    with Image.open(tmp_path / examples.PICTURE) as sheet:
        assert sheet.size == (24 * 8, 25 * 8)


def test_large_images_are_shown_small_and_take_little_memory(
    tmp_path: Path, sparse_images: Callable[..., np.ndarray], peak: Callable[..., int]
) -> None:
    labels = np.repeat(np.arange(60), 10)
    split = Split(sparse_images(600, 256, 512, 3), labels)  # 236 MB
    assert peak(lambda: examples.draw(split, labels, np.diag(np.bincount(labels)), tmp_path)) < 50e6
    assert json.loads((tmp_path / examples.INDEX).read_text())["size"] == [48, 96]
    with Image.open(tmp_path / examples.PICTURE) as sheet:
        assert sheet.size == (24 * 96, 20 * 48)
