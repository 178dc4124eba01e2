"""How much a difference counts: exact tests of counts, a correction for several looks, a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr  # as scipy.stats.binom.cdf, which takes half a second to import

RESAMPLES = 10_000  # puts the ends of a 95 % interval within about a hundredth of its width


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """P(X <= successes) for X ~ Binomial(trials, share), exact. 1 where `trials` is 0."""
    return float(bdtr(successes, trials, share))


def won_and_lost(new: np.ndarray, old: np.ndarray) -> tuple[int, int]:
    """How many images only the new, and only the old model classifies correctly; both bool (n,)."""
    return int((new & ~old).sum()), int((old & ~new).sum())


def mcnemar(won: int, lost: int, margin: float = 0.0) -> float:
    """Exact one-sided McNemar test: the chance of `lost` or more losses among the images that two models differ on.

    Args:
        won: images that only the new model classifies correctly.
        lost: images that only the old model classifies correctly.
        margin: how many more losses than wins are still called equal; with 0, losses and wins are equally likely.

    Returns:
        The p-value, 0 to 1: a small one says that the new model is worse.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947), 153-157; the exact form is the sign test of the disagreements.
    """
    differing = won + lost
    if margin >= differing:
        return 1.0
    return binomial_tail(won, differing, (1 - margin / differing) / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected so that the chance of any false alarm among them is at most the level they are held to.

    Returns:
        The corrected p-values, in the order of those given.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979), 65-70.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected


def bootstrap_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of paired differences, one an image.

    Args:
        differences: float (n,), such as 1 where only the new model is right, -1 where only the old one is, else 0.
        level: the share of resampled means that lies within.

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    # A resample is how often each distinct difference was drawn: a multinomial draw, the same and much faster.
    values, counts = np.unique(differences, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(differences), counts / len(differences), RESAMPLES)
    means = draws @ values / len(differences)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
