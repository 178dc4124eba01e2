"""The whole way: what is asked for, what is kept, what is left to run, and the report of all that is there."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from study import digits, report
from study.experiments import Experiment, Job, chosen, jobs
from study.pool import run_all
from study.progress import Progress
from study.results import Result, kept, write
from trainer.checkpoint import claimed


class BusyError(RuntimeError):
    """Another study runs in the same directory."""


def study(
    experiments: Sequence[Experiment],
    folder: Path,
    *,
    seeds: int = 1,
    only: Sequence[str] = (),
    workers: int = 0,
    summary: Path | None = None,
) -> Path:
    """Runs what is not yet there, and writes results, figures and report.

    Args:
        experiments: all that the study knows.
        folder: its directory.
        seeds: runs an experiment.
        only: ids of those to run now; the report shows every finished run, whatever is run now.
        workers: runs side by side; 0: one a core.
        summary: where the report goes as Markdown too, if every experiment is in it.

    Returns:
        The report.

    Raises:
        ValueError: no seeds, negative workers, or an unknown experiment.
        BusyError: another study runs there.
        RunError: a run failed.
    """
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1. Received: {seeds}.")
    if workers < 0:
        raise ValueError(f"`workers` must be at least 0. Received: {workers}.")
    asked = jobs(chosen(experiments, only), seeds)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    with claimed(folder) as free:
        if not free:
            raise BusyError(f"{folder}: another study runs there.")
        _run(asked, folder, workers)
        return _report(experiments, folder, summary)


def _run(asked: Sequence[Job], folder: Path, workers: int) -> None:
    left = []
    for job in asked:
        found = kept(folder / "runs", job)
        if not isinstance(found, Result):
            left.append(job)
            if found:
                print(found, flush=True)
    print(f"{len(asked)} runs: {len(asked) - len(left)} are kept, {len(left)} to do.", flush=True)
    if not left:
        return
    if any(job.config.dataset == "folder:digits" for job in left):
        digits.write(folder / "digits")
    cores = len(os.sched_getaffinity(0))
    workers = workers or cores
    start = time.monotonic()
    run_all(left, folder, workers, max(1, cores // workers), Progress(left))
    print(f"{len(left)} runs took {(time.monotonic() - start) / 60:.1f} minutes.", flush=True)


def _report(experiments: Sequence[Experiment], folder: Path, summary: Path | None) -> Path:
    runs = finished(experiments, folder)
    every = [run for results in runs.values() for run in results]
    write(folder / "results.json", [run.summary() for run in every])
    found = report.sections(runs, folder / "figures")
    path = folder / "report.html"
    path.write_text(report.page(found), "utf-8")
    (folder / "report.md").write_text(report.markdown(found), "utf-8")
    if summary and len(runs) == len(experiments):
        summary.write_text(report.markdown(found), "utf-8")
    return path


def finished(experiments: Sequence[Experiment], folder: Path) -> dict[str, list[Result]]:
    """Every kept run of the experiments as they are now, by id, in the order of the seeds."""
    runs: dict[str, list[Result]] = {}
    for experiment in experiments:
        seed = 0
        while isinstance(found := kept(folder / "runs", Job(experiment, seed)), Result):
            runs.setdefault(experiment.id, []).append(found)
            seed += 1
    return runs
