"""Which settings mattered: how much worse a forest predicts the trials' order when one setting is shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

# With fewer trials the forest finds no order; how well it does is told with the result.
FEWEST = 8
TREES, SHUFFLES = 300, 30
METHOD = (
    "A random forest predicts the rank of a trial's accuracy from its settings; a setting's importance is by how much "
    "R² falls when its values are shuffled among the trials (permutation importance; L. Breiman, Random Forests, 2001)."
)


@dataclass(frozen=True)
class Importance:
    """By setting: `means` and `deviations` over the shuffles; `fit` is the forest's R² on trials it has not seen."""

    names: tuple[str, ...]
    means: np.ndarray
    deviations: np.ndarray
    fit: float


def importance(names: Sequence[str], columns: Sequence[np.ndarray], scores: Sequence[float]) -> Importance | None:
    """The importance of each setting, None where there are too few trials to tell.

    Args:
        columns: a setting's value in each trial, as numbers.
        scores: of the trials. Ranks are predicted, for a few hopeless trials would outweigh all others.
    """
    if len(scores) < FEWEST:
        return None
    table, ranks = np.stack(columns, axis=1), np.argsort(np.argsort(scores))
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(table, ranks)
    found = permutation_importance(forest, table, ranks, n_repeats=SHUFFLES, random_state=0)
    return Importance(tuple(names), found.importances_mean, found.importances_std, float(forest.oob_score_))


def numbers(values: Sequence[object], logarithmic: bool = False) -> np.ndarray:
    """Values as numbers: names by their place in the alphabet, rates by their logarithm, no rate below all rates."""
    if any(isinstance(value, str) for value in values):
        places = {name: place for place, name in enumerate(sorted({str(value) for value in values}))}
        return np.array([places[str(value)] for value in values], float)
    found = np.array(values, float)
    if not logarithmic:
        return found
    positive = found[found > 0]
    floor = positive.min() / 10 if len(positive) else 1.0
    return np.log10(np.where(found > 0, found, floor))
