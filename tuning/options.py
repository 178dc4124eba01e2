"""How a search is run: nothing here decides what its trials find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.names import RULE, is_name
from trainer.config import RunOptions


@dataclass(frozen=True)
class SearchOptions:
    """What a search needs to know beside what to search; validates its fields when constructed.

    Attributes:
        runs: how the finalists are run.
        name: of the search, and of its directory.
        workers: processes on this machine.
        finalists: how many of the best trials are trained in full.
        final_seeds: from how many seeds each.
        time_limit: minutes after which the search ends; None: none.
        fresh: delete an earlier search of this name.
    """

    runs: RunOptions
    name: str
    workers: int = 1
    finalists: int = 2
    final_seeds: int = 2
    time_limit: float | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        if not is_name(self.name):  # of one directory, so that --fresh clears no other
            raise ValueError(f"`name` {RULE}. Received: {self.name}.")
        for name in ("workers", "finalists", "final_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"`time_limit` must be above 0 minutes. Received: {self.time_limit}.")

    @property
    def directory(self) -> Path:
        """The search's own, under the artifacts."""
        return self.runs.artifacts / "tuning" / self.name
