"""One line of progress over all runs, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from study.experiments import Job


class Progress:
    """On a terminal one line that is written over; elsewhere a line for each finished run."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._runs, self._finished = len(jobs), 0
        self._cost = sum(job.experiment.cost for job in jobs)
        self._spent: dict[str, float] = {}
        self._before: dict[str, float] = {}  # what an earlier attempt at the run did
        self._start = time.monotonic()

    def epoch(self, job: Job, epochs: int) -> None:
        """So many epochs of a run are done."""
        an_epoch = job.experiment.cost / job.config.epochs
        self._before.setdefault(job.name, an_epoch * (epochs - 1))
        self._spent[job.name] = an_epoch * epochs
        if sys.stdout.isatty():
            bar = "#" * round(30 * sum(self._spent.values()) / self._cost)
            print(f"\r[{bar:<30}] {self!s:<40}", end="", flush=True)

    def done(self, job: Job) -> None:
        self._finished += 1
        before = "\r" if sys.stdout.isatty() else ""
        print(f"{before}{job.name} is done; {self}".ljust(76), flush=True)

    def __str__(self) -> str:
        spent = sum(self._spent.values())
        now = spent - sum(self._before.values())
        seconds = (time.monotonic() - self._start) * (self._cost - spent) / now if now else 0.0
        left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"{self._finished} of {self._runs} runs, {left} left"
