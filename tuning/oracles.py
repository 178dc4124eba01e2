"""keras-tuner's four algorithms, each with a journal."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras_tuner import Objective, oracles
from keras_tuner.engine.trial import TrialStatus

from tuning.journal import Journal
from tuning.recorded import SCORE, Recorded
from tuning.space import Search


class Random(Recorded, oracles.RandomSearchOracle):
    """Independent random trials."""


class Grid(Recorded, oracles.GridSearchOracle):
    """Every point of the space, in order."""


class Bayesian(Recorded, oracles.BayesianOptimizationOracle):
    """A Gaussian process proposes; where it repeats itself, chance does."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if values := self._recorded:  # a proposal takes seconds, and is known
            return {"status": TrialStatus.RUNNING, "values": values}
        self._random_state = np.random.RandomState([self.seed, len(self.trials)])
        proposal = super().populate_space(trial_id)
        repeated = proposal["values"] is not None and self._duplicate(proposal["values"])
        return self._random_populate_space() if repeated else proposal


class Hyperband(Recorded, oracles.HyperbandOracle):
    """Many short trials; the better ones are carried on."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        proposal = super().populate_space(trial_id)
        values = proposal.get("values") or {}
        if past := values.get("tuner/trial_id"):
            values["tuner/root"] = self.trials[past].hyperparameters.values.get("tuner/root", int(past))
        return proposal


ORACLES = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}


def build_oracle(search: Search, journal: Journal, silence: float = float("inf")) -> Recorded:
    """The search's oracle, as far as the journal has come."""
    # keras-tuner takes seed 0 for none, and stops a search after a few failures; here they are results.
    options: dict[str, Any] = {
        "objective": Objective(SCORE, "max"),
        "hyperparameters": search.hyperparameters(),
        "allow_new_entries": False,
        "seed": search.seed + 1,
        "max_consecutive_failed_trials": None,
    }
    if search.algorithm == "hyperband":
        options |= {"max_epochs": search.epochs, "hyperband_iterations": None}
    oracle = ORACLES[search.algorithm](**options)
    oracle.open(search, journal, silence)
    return oracle
