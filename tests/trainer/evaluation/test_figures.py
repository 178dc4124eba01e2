"""Figures stay pictures that a machine has the memory for, however many classes there are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.evaluation import figures


@pytest.mark.parametrize("count", [2, 31, 101, 1000])
def test_a_confusion_matrix_of_many_classes_is_a_picture_of_bounded_size(count: int, tmp_path: Path) -> None:
    confusion = np.eye(count, dtype=int)
    confusion[0, -1] = 3
    path = tmp_path / "confusion.png"
    figures.confusion_matrix(confusion, [f"class {number}" for number in range(count)], "1 test image each", path)
    with Image.open(path) as image:
        assert min(image.size) >= 400
        assert max(image.size) <= 3000
        assert len(image.convert("L").getcolors()) > 20
