"""One line for each trial that ends, while the search is at work."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tuning.oracles import SavedOracle
from tuning.space import Search
from tuning.trials import Record


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
