"""Figures stay pictures that a machine has the memory for, however many classes there are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.evaluation import figures
from trainer.evaluation.robustness import Robustness


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


def test_legends_are_below_the_curves_and_bars(tmp_path: Path, legends_on_plots: list[bool]) -> None:
    history = {"loss": [0.9, 0.5], "val_loss": [0.8, 0.9], "accuracy": [0.5, 0.8], "val_accuracy": [0.6, 0.7]}
    figures.curves(history, 1, "one run", tmp_path / "curves.png")
    measured = Robustness(tuple((kind, 1.0) for kind in figures.STRENGTHS), np.ones((len(figures.STRENGTHS), 3), bool))
    figures.robustness(measured, 0.9, "one run", tmp_path / "robustness.png")
    assert legends_on_plots == [False, False]
