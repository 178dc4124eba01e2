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
        self._before: dict[str, float] = {}
        self._start = time.monotonic()
        self._live = sys.stdout.isatty()

    def epoch(self, job: Job, epochs: int) -> None:
        """So many epochs of a run are done; those that were done in an earlier attempt took no time now."""
        spent = job.experiment.cost * epochs / job.config.epochs
        self._before.setdefault(job.name, spent * (epochs - 1) / epochs)
        self._spent[job.name] = spent
        if self._live:
            self._show()

    def done(self, job: Job) -> None:
        self._finished += 1
        self._spent[job.name] = job.experiment.cost
        if self._live:
            self._show()
        else:
            print(f"{job.name} is done; {self}", flush=True)

    def __str__(self) -> str:
        return f"{self._finished} of {self._runs} runs, {self._left()}"

    def _left(self) -> str:
        spent = sum(self._spent.values())
        now = spent - sum(self._before.values())
        if not now:
            return "time left not known yet"
        seconds = (time.monotonic() - self._start) * (self._cost - spent) / now
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"

    def _show(self) -> None:
        share = sum(self._spent.values()) / self._cost
        running = [name for name, spent in self._spent.items() if spent]
        bar = "#" * round(30 * share)
        print(f"\r[{bar:<30}] {share:4.0%}  {self}  ", end="" if self._finished < self._runs else "\n", flush=True)
        del running
