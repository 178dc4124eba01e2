"""Trials as plain data: when one is losing, and what became of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_tuner.engine.trial import Trial  # it imports TensorFlow

SCORE = "val_accuracy"
COMPLETED, FAILED = "COMPLETED", "FAILED"
# The median rule compares with at least so many others, and from the middle of a training on: before, a high rate
# looks worse than it ends.
OTHERS, GRACE = 4, 0.5


@dataclass(frozen=True)
class Record:
    """One trial that ended.

    Attributes:
        number: 0-based, in the order in which trials began.
        values: its hyperparameters.
        history: the validation accuracy after each epoch.
        begun: when its last worker got it, in seconds since 1970.
        ended: when it ended.
        status: COMPLETED or FAILED.
        stopped: it completed before its last epoch, because it was losing or out of patience.
        message: why it failed.
    """

    number: int
    values: dict[str, Any]
    history: list[float]
    begun: float
    ended: float
    status: str = COMPLETED
    stopped: bool = False
    message: str = ""

    @classmethod
    def of(cls, trial: Trial, times: Sequence[float], epochs: int) -> Record:
        """The record of a trial that began and ended at these `times`, and was planned for so many epochs."""
        values, accuracies, completed = trial.hyperparameters.values, history(trial), trial.status == COMPLETED
        begun, ended = times
        stopped = completed and len(accuracies) < values.get("tuner/epochs", epochs)
        message = "" if completed else trial.message or "the loss is no longer a number"
        return cls(int(trial.trial_id), values, accuracies, begun, ended, trial.status, stopped, message)

    @property
    def score(self) -> float | None:
        """The best validation accuracy; None unless completed."""
        return max(self.history) if self.status == COMPLETED else None

    @property
    def seconds(self) -> float:
        return round(self.ended - self.begun, 3)

    @property
    def outcome(self) -> str:
        """The score, or why there is none."""
        if self.score is None:
            return f"failed ({self.message})"
        return f"{self.score:.4f}" + (f", stopped after {len(self.history)}" if self.stopped else "")


def history(trial: Trial) -> list[float]:
    """The validation accuracy after each epoch."""
    return [float(each.mean()) for each in trial.metrics.get_history(SCORE)] if trial.metrics.exists(SCORE) else []


def is_losing(history: Sequence[float], others: Sequence[Sequence[float]], epochs: int, planned: int) -> bool:
    """The median rule: the best so far is below the median of what others had reached after as many epochs.

    Source: D. Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, with the best in place of the mean.
    """
    reached = [max(each[:epochs]) for each in others if len(each) >= epochs]
    return GRACE * planned <= epochs < planned and len(reached) >= OTHERS and max(history) < statistics.median(reached)
