"""Evaluation: what a model gets right, how far to believe it, and the uncertainty of a finite test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from trainer.data import batches
from trainer.data.dataset import Split
from trainer.evaluation.calibration import Calibration, calibration, fit_temperature, softmax

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split.

    Attributes:
        accuracy: share of the images whose class it names.
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
        """float (classes,): the share of each class's images that are named so; 0 for a class without images."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """float (classes,): the share of the images named so that are of the class; 0 where none is named so."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """float (classes,): the harmonic mean of precision and recall."""
        return _shares(2 * self.confusion.diagonal(), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and the number of images, by the class's name."""
        columns = zip(self.precision, self.recall, self.f1, self.confusion.sum(axis=1), strict=True)
        return {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "images": int(images)}
            for name, (precision, recall, f1, images) in zip(classes, columns, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "confusion": self.confusion.tolist(),
            "temperature": self.temperature,
            "raw": self.raw.to_json(),
            "calibrated": self.calibrated.to_json(),
        }


def evaluate(model: keras.Model, split: Split, classes: int, temperature: float = 1.0) -> Evaluation:
    """Judges a model, from raw pixels to logits, on a split; `temperature` is that of `calibrated_temperature`."""
    return measure(predict_logits(model, split), split.labels, classes, temperature)


def measure(logits: np.ndarray, labels: np.ndarray, classes: int, temperature: float = 1.0) -> Evaluation:
    """Judges logits (n, classes) against the true labels int (n,)."""
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


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share, z2 = successes / trials, Z_95**2
    center = share + z2 / (2 * trials)
    margin = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return max(0.0, (center - margin) / scale), min(1.0, (center + margin) / scale)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return parts / np.maximum(wholes, 1)
