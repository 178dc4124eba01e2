"""Means over seeds with their uncertainty, and differences between runs that share a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from study.results import Result
from trainer.release.significance import bootstrap_interval

Runs = Mapping[str, Sequence[Result]]  # finished runs by experiment id, in the order of seeds

FEWEST = 3  # pairs; of fewer, their spread gives no useful interval


@dataclass(frozen=True)
class Estimate:
    """A mean of `count` values, its 95 % interval, and the sample's standard deviation, None for a single value."""

    mean: float
    low: float
    high: float
    count: int
    deviation: float | None = None

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} ({self.low:{spec}} to {self.high:{spec}})"

    def one_more(self) -> Estimate:
        """The same mean with the 95 % prediction interval of one further run, to compare a published run with."""
        if self.deviation is None:
            return self
        margin = (self.high - self.mean) * math.sqrt(self.count + 1)
        return replace(self, low=self.mean - margin, high=self.mean + margin)


def mean_of(values: Sequence[float]) -> Estimate:
    """Student's t interval of the mean of at least two values."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    margin = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return Estimate(mean, mean - margin, mean + margin, len(values), deviation)


def accuracy(runs: Sequence[Result]) -> Estimate:
    """Test accuracy over seeds; of a single run with its Wilson interval, which covers the test images only."""
    if len(runs) > 1:
        return mean_of([run.test_accuracy for run in runs])
    low, high = runs[0].test_interval
    return Estimate(runs[0].test_accuracy, low, high, 1)


def difference(pairs: Sequence[tuple[Result, Result]]) -> Estimate:
    """Test accuracy of the first minus the second of each pair.

    The interval of three pairs or more is Student's over them; of fewer it is a bootstrap over the test images.
    """
    if len(pairs) >= FEWEST:
        return mean_of([first.test_accuracy - second.test_accuracy for first, second in pairs])
    by_image = np.mean([first.correct.astype(int) - second.correct for first, second in pairs], axis=0)
    low, high = bootstrap_interval(by_image)
    return Estimate(float(by_image.mean()), low, high, len(pairs))


def paired(first: Sequence[Result], second: Sequence[Result]) -> list[tuple[Result, Result]]:
    """The runs of two experiments that share a seed."""
    by_seed = {run.seed: run for run in second}
    return [(run, by_seed[run.seed]) for run in first if run.seed in by_seed]
