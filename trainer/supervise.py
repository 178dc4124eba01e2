"""Runs a command until standard input ends: python -m trainer.supervise COMMAND...

The process that started this one holds the other end of that pipe. However that process ends, by SIGKILL too, the
system closes the pipe, and the command is stopped together with every process that it started. Then the MiB that the
largest of these took at its peak are printed; the process that started this one would measure itself, because a
process counts what its parent held when it started it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 30.0  # more than the 25 s that the service takes for requests in progress


def main() -> int:
    # A session of its own, so that one signal reaches the command's processes; sockets left open for it go along.
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(sys.argv[1:], stdin=nowhere, stdout=nowhere, start_new_session=True, close_fds=False)
    threading.Thread(target=_stop_at_end_of_input, args=(process,), daemon=True).start()
    code = process.wait()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(round(peak / (2**20 if sys.platform == "darwin" else 2**10)))
    return code


def _stop_at_end_of_input(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):  # not by sys.stdin, whose lock the thread would hold when the interpreter ends
        pass
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
