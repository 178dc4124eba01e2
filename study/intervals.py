"""Means over seeds with their uncertainty, and differences between runs that share a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from study.results import Result
from trainer.significance import bootstrap_interval

LEVEL = 0.95
FEWEST = 3  # seeds or pairs from which on the spread between them is worth an interval


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval; `deviation` is the sample's, None for a single run."""

    mean: float
    low: float
    high: float
    count: int
    deviation: float | None = None

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def one_more(self) -> tuple[float, float]:
        """95 % interval of one further run: what a single published run is to be held against."""
        if self.deviation is None:
            return self.low, self.high
        margin = _quantile(self.count) * self.deviation * math.sqrt(1 + 1 / self.count)
        return self.mean - margin, self.mean + margin


def mean_of(values: Sequence[float]) -> Estimate:
    """Student's t interval of the mean of at least two values."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    margin = _quantile(len(values)) * deviation / math.sqrt(len(values))
    return Estimate(mean, mean - margin, mean + margin, len(values), deviation)


def accuracy(runs: Sequence[Result]) -> Estimate:
    """Test accuracy over seeds; of a single run, its Wilson interval, which knows of the test images alone."""
    if len(runs) == 1:
        low, high = runs[0].test_interval
        return Estimate(runs[0].test_accuracy, low, high, 1)
    return mean_of([run.test_accuracy for run in runs])


def difference(pairs: Sequence[tuple[Result, Result]]) -> Estimate:
    """Test accuracy of the first minus the second of each pair.

    From three pairs on by Student's t over them, which knows of seeds; of fewer by a bootstrap over the test images.
    """
    if len(pairs) >= FEWEST:
        return mean_of([first.test_accuracy - second.test_accuracy for first, second in pairs])
    by_image = np.mean([_right(first).astype(float) - _right(second) for first, second in pairs], axis=0)
    low, high = bootstrap_interval(by_image)
    return Estimate(float(by_image.mean()), low, high, len(pairs))


def paired(first: Sequence[Result], second: Sequence[Result]) -> list[tuple[Result, Result]]:
    """The runs of two experiments that share a seed."""
    by_seed = {run.seed: run for run in second}
    return [(run, by_seed[run.seed]) for run in first if run.seed in by_seed]


def _right(run: Result) -> np.ndarray:
    return np.equal(run.labels, run.predicted)


def _quantile(count: int) -> float:
    return float(student.ppf((1 + LEVEL) / 2, count - 1))
