"""Finds the processes that tests started and left running.

Each session of tests puts an id of its own into the environment, which all that it starts inherits.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "STARTED_BY_TESTS"


def left(session: str, seconds: float = 0) -> dict[int, str]:
    """Processes with `session` in their environment that still run after `seconds`, with the test that started each."""
    end = time.monotonic() + seconds
    while (found := _running(session)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def end(processes: dict[int, str]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended is still in /proc until its parent, or process 1, looks at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _running(session: str) -> dict[int, str]:
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environ = dict(
                entry.split("=", 1)
                for entry in os.fsdecode((directory / "environ").read_bytes()).split("\0")
                if "=" in entry
            )
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has ended, or is another user's
        # Python's resource tracker ends with the Python process that it serves, which may be this one.
        if environ.get(VARIABLE) == session and "multiprocessing.resource_tracker" not in command:
            found[int(directory.name)] = f"{command}, started by {environ.get('PYTEST_CURRENT_TEST', 'a fixture')}"
    return found
