"""What the terminal says while a search runs: a line a finished trial, with the best so far and the time left."""

from __future__ import annotations

import time
from pathlib import Path

from tuning.journal import COMPLETED, Journal, Record
from tuning.space import Search


class Progress:
    """Prints each trial of a journal once; those that were there before it began are counted only."""

    def __init__(self, search: Search, journal: Journal, directory: Path, workers: int) -> None:
        self._search = search
        self._shown = len(journal.finished)
        self._before, self._start = self._shown, time.monotonic()
        trials = f"{search.limit or 'all'} trials of {search.epochs} epochs"
        who = f"{workers} worker{'s' if workers > 1 else ''} here" if workers else "workers that come to the chief"
        self.say(f"Searching {', '.join(search.free)}: {trials}, {search.algorithm}, {who}; kept in {directory}")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, journal: Journal) -> None:
        finished = journal.finished
        for count in range(self._shown + 1, len(finished) + 1):
            self.say(self._line(finished[:count]))
        self._shown = len(finished)

    def _line(self, finished: list[Record]) -> str:
        record, limit = finished[-1], self._search.limit
        best = max((each.score for each in finished if each.score is not None), default=None)
        parts = [
            f"trial {len(finished)}{f' of {limit}' if limit else ''}",
            f"{described(self._search, record)}: {outcome(record)}",
            f"{record.seconds:.0f} s",
            f"best {best:.4f}" if best is not None else "none yet",
        ]
        if limit and (left := limit - len(finished)) > 0:
            pace = (time.monotonic() - self._start) / (len(finished) - self._before)
            parts.append(f"{left * pace / 60:.0f} min left")
        return ", ".join(parts)


def described(search: Search, record: Record) -> str:
    """The settings that are searched, as in `deep adamw 0.00562`."""
    config = search.config(record.values, record.number)
    order = ("model", "optimizer", "learning_rate")
    names = [*(name for name in order if name in search.free), *(name for name in search.free if name not in order)]
    values = ((name, getattr(config, name)) for name in names)
    return " ".join(
        f"{value:g}" if name == "learning_rate" else str(value) if name in order else f"{name}={value}"
        for name, value in values
    )


def outcome(record: Record) -> str:
    if record.status != COMPLETED:
        return f"failed ({record.message})"
    stopped = f", stopped after {len(record.history)}" if record.stopped else ""
    return f"{record.score:.4f}{stopped}"
