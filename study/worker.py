"""A process of its own that does one run after another. It ends with the study, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from study.experiments import Job

# ("ready", "") once, then of each job ("epoch", how many are done) and ("done", ""), or ("failed", why).
Message = tuple[str, str]


def work(pipe: Connection, study: Path, log: Path, threads: int, first: list[Job]) -> None:
    """Loads the data of the jobs `first`, says "ready", then does each job that comes, until None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the study's to answer; it ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _write_to(log)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from study import run

        run.start(threads)
        for job in first:
            run.data(job.config, study)
        pipe.send(("ready", ""))
        while job := pipe.recv():
            run.run(job, study, lambda epochs: pipe.send(("epoch", str(epochs))))
            pipe.send(("done", ""))
    except Exception as error:  # whatever it is, the study must hear of it
        pipe.send(("failed", f"{error or type(error).__name__}"))
        traceback.print_exc()


def _end_with_parent() -> None:
    """A killed study cannot tell its workers to end; they see that it is gone."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _write_to(log: Path) -> None:
    """What is printed, by TensorFlow too, goes into a file: the terminal belongs to the study."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
