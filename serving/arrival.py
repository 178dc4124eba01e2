"""When the request of this thread arrived, and whether it may be answered: told by the worker, read by the faces."""

import threading
import time


class _Arrival(threading.local):
    """Without a worker that says otherwise, a request arrives when it is read."""

    at: float | None = None
    refused: bool = False


current = _Arrival()
draining = threading.Event()  # the worker was told to end: it answers, but is not ready for more


def moment() -> float:
    """The time, by the monotonic clock, at which the worker got this thread's request."""
    return time.monotonic() if current.at is None else current.at
