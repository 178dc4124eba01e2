"""The workers that a search starts on its own machine: each is the same command again, replaced when it dies.

They end with the search: a worker's standard input is a pipe that nobody writes to, and that closes when the search
is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tuning.space import SearchError

SUPERVISED = "TUNING_SUPERVISED"  # in the environment of these workers
POLL_S = 0.1
USAGE = 2  # the exit code of a worker that reports an error that its successor would report again


def run(
    count: int, command: Sequence[str], logs: Path, died: Callable[[str, str], bool], goes_on: Callable[[], bool]
) -> None:
    """Keeps `count` workers running until none has more to do, or the search ends.

    Args:
        count: they share the machine's cores.
        command: what starts a worker, apart from its environment.
        logs: the directory of the workers' output, a file each.
        died: is told a dead worker's id and why; answers whether another is to take its place.
        goes_on: is asked several times a second; False ends the search.

    Raises:
        SearchError: a worker cannot work; says why.
    """
    running: dict[str, subprocess.Popen] = {}
    try:
        for name in (f"tuner{number}" for number in range(count)):
            running[name] = _start(name, count, command, logs)
        while running and goes_on():
            for name, worker in list(running.items()):
                code = worker.poll()
                if code is None:
                    continue
                running.pop(name).communicate()  # closes its pipe
                if code:
                    reason = _reason(code, logs / f"{name}.log")
                    if code == USAGE or not died(name, reason):
                        raise SearchError(reason)
                    print(f"{name} died ({reason}); another takes its place", flush=True)
                    running[name] = _start(name, count, command, logs)
            time.sleep(POLL_S)
    finally:
        for worker in running.values():
            worker.kill()  # what they have done is with the chief or in a checkpoint
        for worker in running.values():
            worker.communicate()


def _start(name: str, count: int, command: Sequence[str], logs: Path) -> subprocess.Popen:
    environment = os.environ | {"KERASTUNER_TUNER_ID": name, SUPERVISED: "1"}
    if count > 1:
        share = str(max(1, len(os.sched_getaffinity(0)) // count))
        environment |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), share)
    with (logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the search, which ends them
        )


def end_with_the_search() -> None:
    """Ends this process when the search that started it, if one did, is gone."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # buffered reading would hold a lock that the interpreter needs to end
        os._exit(1)

    if os.environ.get(SUPERVISED):
        threading.Thread(target=watch, daemon=True).start()


def _reason(code: int, log: Path) -> str:
    """Why a worker ended: the signal, or the last line of its output."""
    if code < 0:
        return f"signal {-code}"
    lines = [line for line in log.read_text(errors="replace").split("\n") if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
