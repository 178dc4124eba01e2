"""Which settings mattered: how much worse a forest predicts the trials' order when one setting is shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from trainer.config import TrainConfig
from tuning.trials import Record

LOGARITHMIC = ("learning_rate", "weight_decay", "batch_size")
# With fewer trials the forest finds no order; how well it does is reported with the result.
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


def importance(names: Sequence[str], trials: Sequence[tuple[Record, TrainConfig]]) -> Importance | None:
    """The importance of each setting, None where there are too few completed trials to tell."""
    if len(trials) < FEWEST:
        return None
    table = np.stack([numbers(name, [config for _, config in trials]) for name in names], axis=1)
    # Ranks are predicted, because a few hopeless trials would outweigh all others.
    ranks = np.argsort(np.argsort([record.score or 0.0 for record, _ in trials]))
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(table, ranks)
    found = permutation_importance(forest, table, ranks, n_repeats=SHUFFLES, random_state=0)
    return Importance(tuple(names), found.importances_mean, found.importances_std, float(forest.oob_score_))


def numbers(name: str, configs: Sequence[TrainConfig]) -> np.ndarray:
    """A setting's values as numbers: names by their place in the alphabet, rates by their logarithm, 0 below all."""
    values = np.array([getattr(config, name) for config in configs])
    if values.dtype.kind == "U":
        return np.unique(values, return_inverse=True)[1].astype(float)
    if name not in LOGARITHMIC:
        return values.astype(float)
    lowest = values[values > 0].min(initial=1.0)
    return np.log10(np.where(values > 0, values, lowest / 10))
