"""Evaluation: what a model gets right, with the uncertainty that a finite test set leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from trainer import batches
from trainer.data import Split

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split.

    Attributes:
        accuracy: share of the images whose class it names.
        interval: 95 % Wilson interval of the accuracy.
        confusion: int64 (classes, classes); row: true class, column: predicted class.
        predicted: int64 (n,), the class predicted for each image.
    """

    accuracy: float
    interval: tuple[float, float]
    confusion: np.ndarray
    predicted: np.ndarray

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "confusion": self.confusion.tolist(),
        }


def evaluate(model: keras.Model, split: Split, classes: int) -> Evaluation:
    """Judges a model, from raw pixels to logits, on a split."""
    logits = model.predict(batches.evaluation_batches(split), verbose=0)
    predicted = np.argmax(logits, axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (split.labels, predicted), 1)
    correct = int(np.trace(confusion))
    return Evaluation(correct / len(split), wilson_interval(correct, len(split)), confusion, predicted)


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
