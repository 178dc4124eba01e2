"""The images kept for a cell of the confusion matrix are test images of that cell."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from trainer import examples
from trainer.data import ImageDataset


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


def test_many_classes_take_no_more_room_than_a_few(tmp_path: Path, sample: ImageDataset) -> None:
    labels = np.arange(200)
    split = type(sample.test)(sample.test.images, labels)
    examples.draw(split, labels, np.eye(200, dtype=int) * 1, tmp_path)
    assert (tmp_path / examples.PICTURE).stat().st_size < 300_000
