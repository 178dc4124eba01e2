"""Trials as plain data: when one is losing, what became of it, and how the terminal describes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuning.space import Search

if TYPE_CHECKING:
    from tuning.oracles import SavedOracle

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


def is_losing(history: Sequence[float], others: Sequence[Sequence[float]], epochs: int, planned: int) -> bool:
    """The median rule: the best so far is below the median of what others had reached after as many epochs.

    Source: D. Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, with the best in place of the mean.
    """
    reached = [max(each[:epochs]) for each in others if len(each) >= epochs]
    return GRACE * planned <= epochs < planned and len(reached) >= OTHERS and max(history) < statistics.median(reached)


class Progress:
    """Prints a line for each trial that ends from now on: its outcome, the best so far and the time left."""

    def __init__(self, search: Search, oracle: SavedOracle) -> None:
        self._search, self._oracle = search, oracle
        self._before = self._shown = len(oracle.end_order)
        self._start = time.monotonic()

    def show(self) -> None:
        while self._shown < len(self._oracle.end_order):
            self._shown += 1
            print(self._line(self._oracle.finished[: self._shown]), flush=True)

    def _line(self, finished: Sequence[Record]) -> str:
        record, limit = finished[-1], self._search.limit
        best = max((each.score for each in finished if each.score is not None), default=None)
        parts = [
            f"trial {len(finished)}{f' of {limit}' if limit else ''}",
            f"{self._search.described(record.values)}: {record.outcome}",
            f"{record.seconds:.0f} s",
            f"best {best:.4f}" if best is not None else "none completed yet",
        ]
        if limit and (left := limit - len(finished)) > 0:
            pace = (time.monotonic() - self._start) / (len(finished) - self._before)
            parts.append(f"{left * pace / 60:.0f} min left")
        return ", ".join(parts)
