"""Evaluation: what a model gets right, how far to believe it, and the uncertainty of a finite test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from trainer.data import batches
from trainer.data.dataset import Split
from trainer.evaluation.calibration import Calibration, calibration, fit_temperature, softmax
from trainer.evaluation.intervals import wilson_interval


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split.

    Attributes:
        accuracy: share of the images that it classifies correctly.
        interval: 95 % Wilson interval of the accuracy.
        confusion: int64 (classes, classes); row: true class, column: predicted class.
        logits: float (n, classes), before any temperature.
        temperature: what the logits are divided by to give the served probabilities.
        raw: the calibration of the logits as they are.
        calibrated: the calibration of the served probabilities.
    """

    accuracy: float
    interval: tuple[float, float]
    confusion: np.ndarray
    logits: np.ndarray
    temperature: float
    raw: Calibration
    calibrated: Calibration

    @property
    def predicted(self) -> np.ndarray:
        """int64 (n,), the class predicted for each image."""
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (n, classes), as served."""
        return softmax(self.logits, self.temperature)

    @property
    def recall(self) -> np.ndarray:
        """float (classes,): the share of each class's images classified correctly; 0 for a class without images."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=1))

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and the number of images, by the class's name; 0 where one is not defined."""
        right, images, predicted = self.confusion.diagonal(), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        columns = (_shares(right, predicted), self.recall, _shares(2 * right, predicted + images), images)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {
            name: dict(zip(("precision", "recall", "f1", "images"), row, strict=True))
            for name, row in zip(classes, rows, strict=True)
        }

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """The metrics of a test, as evaluation.json has them."""
        return {
            "test_accuracy": self.accuracy,
            "test_interval": list(self.interval),
            "per_class": self.per_class(classes),
            "confusion": self.confusion.tolist(),
            "calibration": {
                "temperature": self.temperature,
                "raw": asdict(self.raw),
                "calibrated": asdict(self.calibrated),
            },
        }


def evaluate(model: keras.Model, split: Split, classes: int, temperature: float = 1.0) -> Evaluation:
    """Evaluates a model, from raw pixels to logits, on a split; `temperature` is that of `calibrated_temperature`."""
    return measure(predict_logits(model, split), split.labels, classes, temperature)


def measure(logits: np.ndarray, labels: np.ndarray, classes: int, temperature: float = 1.0) -> Evaluation:
    """Evaluates logits (n, classes) against the true labels int (n,)."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    correct = int(np.trace(confusion))
    return Evaluation(
        accuracy=correct / len(labels),
        interval=wilson_interval(correct, len(labels)),
        confusion=confusion,
        logits=logits,
        temperature=temperature,
        raw=calibration(logits, labels),
        calibrated=calibration(logits, labels, temperature),
    )


def calibrated_temperature(model: keras.Model, validation: Split) -> float:
    """The temperature fitted on the validation images; never on those that judge the model."""
    return fit_temperature(predict_logits(model, validation), validation.labels)


def predict_logits(model: keras.Model, split: Split) -> np.ndarray:
    """The model's logits (n, classes) for a split, in its order."""
    return model.predict(batches.evaluation_batches(split), verbose=0)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return parts / np.maximum(wholes, 1)
