"""The study's pipeline: trains the runs that are not finished yet, then reports on every finished one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from joblib import cpu_count

from registry.disk import write_whole
from registry.text import counted
from study import report
from study.experiments import Experiment, Job, chosen, jobs
from study.pool import run_all
from study.results import Result, load, remove_attempts
from trainer.training.checkpoint import claimed


def study(
    experiments: Sequence[Experiment],
    folder: Path,
    *,
    seeds: int = 1,
    only: Sequence[str] = (),
    workers: int = 0,
    summary: Path | None = None,
) -> Path:
    """Trains the runs that are not finished yet; writes results, figures and report.

    Args:
        experiments: all experiments of the study.
        folder: the study's directory.
        seeds: runs per experiment.
        only: ids of the experiments to run now; the report shows every finished run nevertheless.
        workers: runs side by side; 0: one per core.
        summary: file for the report as Markdown, written only if every experiment has a finished run.

    Returns:
        The path of the report.

    Raises:
        ValueError: no seeds, negative workers, an unknown experiment, or another study is running in `folder`.
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
            raise ValueError(f"{folder}: another study is running there; wait for it, or give other `--artifacts`.")
        _run(asked, folder, workers)
        return _report(experiments, folder, summary)


def finished(experiments: Sequence[Experiment], folder: Path) -> dict[str, list[Result]]:
    """Every finished run of the experiments as they are defined now, by id, in the order of the seeds."""
    runs: dict[str, list[Result]] = {}
    for experiment in experiments:
        while isinstance(found := load(folder / "runs", Job(experiment, len(runs.get(experiment.id, ())))), Result):
            runs.setdefault(experiment.id, []).append(found)
    return runs


def _run(asked: Sequence[Job], folder: Path, workers: int) -> None:
    found = {job: load(folder / "runs", job) for job in asked}
    left = [job for job in asked if not isinstance(found[job], Result)]
    for job in set(asked).difference(left):
        remove_attempts(folder / "runs", job)  # a study may be killed after a result is written and before this is done
    for reason in (each for each in found.values() if isinstance(each, str)):
        print(reason, flush=True)
    print(f"{counted(len(asked), 'run')}: {len(asked) - len(left)} finished, {len(left)} to do.", flush=True)
    if not left:
        return
    workers, start = min(workers or cpu_count(), len(left)), time.monotonic()
    run_all(left, folder, workers, max(1, cpu_count() // workers))
    print(f"{counted(len(left), 'run')} took {(time.monotonic() - start) / 60:.1f} minutes.", flush=True)


def _report(experiments: Sequence[Experiment], folder: Path, summary: Path | None) -> Path:
    runs = finished(experiments, folder)
    write_whole(folder / "results.json", json.dumps([run.summary() for results in runs.values() for run in results]))
    sections = report.sections(runs, folder / "figures")
    write_whole(folder / "report.html", report.render("report.html.j2", sections))
    if summary and len(runs) == len(experiments):
        write_whole(summary, report.render("RESULTS.md.j2", sections))
    elif summary:
        print(f"{summary} is left as it was, because not every experiment has been run.", flush=True)
    return folder / "report.html"
