"""Runs side by side: a worker process a core, each with one run at a time, the longest first."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from study.experiments import Job
from study.progress import Progress
from study.worker import work


class RunError(RuntimeError):
    """A run failed, or its process died; what was finished is kept."""


@dataclass
class _Worker:
    process: BaseProcess
    job: Job | None = None


def run_all(jobs: Sequence[Job], study: Path, workers: int, threads: int, progress: Progress) -> None:
    """Does every job, `workers` at a time, each with so many threads.

    Raises:
        RunError: a run failed; the others were ended, and go on from their last epoch next time.
    """
    waiting = sorted(jobs, key=lambda job: job.experiment.cost)
    crew: dict[Connection, _Worker] = {}

    def hire(first: list[Job]) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, study, threads, first))
        process.start()
        theirs.close()
        crew[ours] = _Worker(process)

    try:
        # The first one prepares the data; the others find it prepared.
        hire(list({job.config.dataset: job for job in jobs}.values()))
        while crew:
            for pipe in wait(list(crew)):
                assert isinstance(pipe, Connection)  # noqa: S101 - nothing else is waited for
                worker = crew[pipe]
                kind, text = _message(pipe, worker)
                if kind == "failed":
                    raise RunError(f"{worker.job.name if worker.job else 'loading the data'}: {text}")
                if worker.job and kind == "epoch":
                    progress.epoch(worker.job, int(text))
                    continue
                if kind == "ready" and len(crew) == 1:
                    for _ in range(min(workers, len(jobs)) - 1):
                        hire([])
                if worker.job and kind == "done":
                    progress.done(worker.job)
                worker.job = waiting.pop() if waiting else None
                pipe.send(worker.job)
                if worker.job is None:
                    worker.process.join()
                    del crew[pipe]
    finally:
        for worker in crew.values():
            worker.process.kill()
            worker.process.join()


def _message(pipe: Connection, worker: _Worker) -> tuple[str, str]:
    try:
        kind, text = pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        name = worker.job.name if worker.job else "a worker"
        raise RunError(f"{name}: its process ended with {worker.process.exitcode}; out of memory?") from None
    return kind, text
