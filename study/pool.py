"""Runs side by side: a worker process a core, each with one run at a time, the longest of a seed first."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from study.experiments import Job
from study.progress import Progress
from study.worker import Message, work


class RunError(RuntimeError):
    """A run failed, or its process died; what was finished is kept."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    process: BaseProcess
    log: Path
    job: Job | None = None


def run_all(jobs: Sequence[Job], study: Path, workers: int, threads: int, progress: Progress) -> None:
    """Does every job, `workers` at a time, each with so many threads.

    Raises:
        RunError: a run failed; the others were ended, and go on from their last epoch next time.
    """
    # From the end: seed 0 of everything first, so that a study that is cut short is whole.
    waiting = sorted(jobs, key=lambda job: (-job.seed, job.experiment.cost))
    crew: dict[Connection, _Worker] = {}
    missing = min(workers, len(jobs)) - 1
    # The first worker prepares the data, before the others are hired.
    _hire(crew, study, threads, list({job.config.dataset: job for job in jobs}.values()))
    try:
        while crew:
            for pipe, worker in [(pipe, crew[pipe]) for pipe in wait(list(crew)) if isinstance(pipe, Connection)]:
                kind, epochs = _message(pipe, worker)
                if worker.job and kind == "epoch":
                    progress.epoch(worker.job, int(epochs))
                    continue
                if worker.job and kind == "done":
                    progress.done(worker.job)
                while missing:  # the data is prepared
                    missing -= 1
                    _hire(crew, study, threads, [])
                worker.job = waiting.pop() if waiting else None
                pipe.send(worker.job)
                if worker.job is None:
                    del crew[pipe]
    finally:
        for worker in crew.values():
            worker.process.kill()
            worker.process.join()


def _hire(crew: dict[Connection, _Worker], study: Path, threads: int, first: list[Job]) -> None:
    ours, theirs = multiprocessing.Pipe()
    log = study / "logs" / f"worker-{len(crew) + 1}.log"
    # TensorFlow does not survive a fork.
    process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, study, log, threads, first))
    process.start()
    theirs.close()  # so that the death of its only holder ends the pipe
    crew[ours] = _Worker(process, log)


def _message(pipe: Connection, worker: _Worker) -> Message:
    """What a worker says; RunError where it failed or is gone."""
    doing = worker.job.name if worker.job else "loading the data"
    try:
        kind, text = pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        raise RunError(
            f"{doing}: its process ended with {worker.process.exitcode} (-9: killed, perhaps for want of memory; "
            f"`--workers 1` needs less). Its log is {worker.log}."
        ) from None
    if kind == "failed":
        raise RunError(f"{doing}: {text} Its log is {worker.log}.")
    return kind, text
