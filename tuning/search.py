"""The search: keras-tuner's chief in this process, workers beside it, and a watch over them.

The chief's journal is all that is needed to go on. A worker that dies is started anew by its name and gets its trial
again; when the chief dies, its workers end by themselves, and the next search takes up the journal.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.protos import get_service_grpc

from tuning.journal import Journal, SearchError
from tuning.options import SUPERVISED
from tuning.progress import Progress
from tuning.recorded import Recorded

LOOK_S = 0.1
# How long the chief waits for workers of other machines to hear that the search is over.
FAREWELL_S = 60.0
USAGE = 2  # the exit code of a worker that says what is wrong, and would say it again


@contextmanager
def chief(oracle: Recorded, address: str) -> Iterator[int]:
    """keras-tuner's chief at `host:port`; gives the port, which the system chooses where it is 0.

    Raises:
        SearchError: the port is taken.
    """
    # Without it, two chiefs would share a port, and the workers.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
    get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SearchError(f"Cannot listen on {address}, which KERASTUNER_ORACLE_IP and ..._PORT ask for.") from error
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None)


def lead(oracle: Recorded, journal: Journal, progress: Progress, deadline: float) -> None:
    """Waits until workers of other machines have done all trials.

    Raises:
        OSError: the journal cannot be written.
    """
    while _goes_on(oracle, journal, progress, deadline) and not (oracle.over or oracle.all_done):
        time.sleep(LOOK_S)
    progress.show(journal)
    oracle.closed = True
    until = time.monotonic() + FAREWELL_S
    while oracle.tuner_ids and time.monotonic() < until:
        time.sleep(LOOK_S)


def work_here(
    oracle: Recorded,
    journal: Journal,
    progress: Progress,
    deadline: float,
    *,
    workers: int,
    port: int,
    command: Sequence[str],
    logs: Path,
) -> None:
    """Runs workers on this machine until all trials are done, or the time is up.

    Args:
        deadline: on `time.monotonic`'s clock; unfinished trials stay unfinished.
        command: what starts a worker, apart from its environment.
        logs: where the workers' output goes, a file each.

    Raises:
        SearchError: a worker cannot work, and says why.
        OSError: the journal cannot be written.
    """
    names = [f"tuner{index}" for index in range(workers)]
    oracle.keep_names(set(names))
    running: dict[str, subprocess.Popen] = {}
    try:
        for name in names:
            running[name] = _start(name, workers, port, command, logs)
        while running and _goes_on(oracle, journal, progress, deadline):
            for name, worker in list(running.items()):
                code = worker.poll()
                if code is None:
                    continue
                running.pop(name).communicate()  # closes its pipe
                reason = _reason(code, logs / f"{name}.log")
                if code == USAGE or (code and not oracle.worker_died(name, reason)):
                    raise SearchError(reason)
                if code:
                    progress.say(f"{name} died ({reason}); another takes its place")
                    running[name] = _start(name, workers, port, command, logs)
            time.sleep(LOOK_S)
        progress.show(journal)
    finally:
        for worker in running.values():
            worker.kill()  # what they have done is with the chief or in a checkpoint
        for worker in running.values():
            worker.communicate()


def _goes_on(oracle: Recorded, journal: Journal, progress: Progress, deadline: float) -> bool:
    if oracle.failure:
        raise oracle.failure
    progress.show(journal)
    return time.monotonic() < deadline


def _start(name: str, workers: int, port: int, command: Sequence[str], logs: Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        SUPERVISED: "1",
    }
    if workers > 1:
        share = str(max(1, len(os.sched_getaffinity(0)) // workers))
        environment |= {"TF_NUM_INTRAOP_THREADS": share, "TF_NUM_INTEROP_THREADS": share, "OMP_NUM_THREADS": share}
    with (logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.PIPE,  # never written to: its end tells the worker of ours
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the search, which ends them
        )


def _reason(code: int, log: Path) -> str:
    """Why a worker ended: the signal, or the last that it said."""
    if code < 0:
        return f"signal {-code}"
    lines = log.read_text(errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), f"exit code {code}")
    return said.removeprefix("error: ")
