"""Runs side by side in a process pool: each worker process trains one run at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from study.experiments import Job
from trainer.backend import import_tensorflow

BAR = "{percentage:3.0f} %|{bar:30}| {elapsed} elapsed, {remaining} left"


class RunError(ValueError):
    """A run failed, or its process died; finished runs are kept."""


def run_all(jobs: Sequence[Job], study: Path, workers: int, threads: int) -> None:
    """Does every job, `workers` at a time, each with `threads` threads.

    Raises:
        RunError: a run failed. The others are stopped; the next study resumes them after their last epoch.
    """
    # Seed 0 of every experiment first, so that a study that is cut short covers all; long runs first within a seed.
    waiting = sorted(jobs, key=lambda job: (job.seed, -job.experiment.cost))
    datasets = list({job.config.dataset: job for job in jobs}.values())
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    futures: dict[Future[None], Job] = {}
    # The sender is closed first, which ends the workers, whether they are idle or, after an error, busy.
    with receiver, ProcessPoolExecutor(workers, context, _start, (receiver, threads)) as pool, sender:
        try:
            pool.submit(_load, datasets, study).result()  # in one process, so that no two prepare the same data
            futures |= {pool.submit(_run, job, study): job for job in waiting}
            with tqdm(total=sum(job.experiment.cost for job in jobs), smoothing=0, bar_format=BAR, disable=None) as bar:
                for number, future in enumerate(as_completed(futures), 1):
                    future.result()
                    bar.update(futures[future].experiment.cost)
                    tqdm.write(f"{futures[future].name} is done; {number} of {len(jobs)} runs.")
                    sys.stdout.flush()
        except BrokenProcessPool:
            lost = [job.name for future, job in futures.items() if future.exception()][:workers]
            raise RunError(
                f"A worker process ended unexpectedly, perhaps because memory ran out; `--workers 1` needs less. "
                f"In progress: {', '.join(lost) or 'loading the data'}. The logs are in {study / 'logs'}."
            ) from None


def _start(receiver: Connection, threads: int) -> None:
    """Initialises a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study handles Ctrl-C and ends its workers
    threading.Thread(target=_end_with_study, args=(receiver,), daemon=True).start()
    os.environ |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}


def _end_with_study(receiver: Connection) -> None:
    """Ends this process when the study closes its end of the pipe; the system does that for a killed study."""
    try:
        receiver.recv()
    except EOFError:
        os._exit(1)


def _load(jobs: Sequence[Job], study: Path) -> None:
    with _logged("loading the data", study / "logs" / "data.log"):
        import_tensorflow()
        from study import run

        for job in jobs:
            run.data(job.config, study)


def _run(job: Job, study: Path) -> None:
    with _logged(job.name, study / "logs" / f"{job.name}.log"):
        import_tensorflow()
        from study import run

        run.run(job, study)


@contextmanager
def _logged(task: str, log: Path) -> Iterator[None]:
    """Within it, whatever is printed, by TensorFlow too, goes into a file, because the terminal belongs to the study.

    Raises:
        RunError: instead of any other exception, whose traceback goes into the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        reason = str(error).rstrip(".") or type(error).__name__
        raise RunError(f"{task}: {reason}. Its log is {log}.") from None
