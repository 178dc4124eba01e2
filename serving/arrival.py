"""When the request of this thread arrived, and whether it may be answered: told by the worker, read by the faces."""

import threading
import time
from collections.abc import Callable


class _Arrival(threading.local):
    """Without a worker that says otherwise, a request arrives when it is read."""

    at: float | None = None
    begun: float | None = None  # when it got a thread
    sending: float = 0.0  # seconds that its client took to send the body, once it had a thread
    refused: bool = False


current = _Arrival()
waiting: Callable[[], int] = int  # how many requests have no thread yet; none, until a worker says otherwise
draining = threading.Event()  # the worker was told to end: it answers, but is not ready for more


def moment() -> float:
    """The time, by the monotonic clock, at which the worker got this thread's request."""
    return time.monotonic() if current.at is None else current.at


def due(milliseconds: int) -> float:
    """When this thread's request has waited so long, by the monotonic clock; its client's own time does not count."""
    return moment() + current.sending + milliseconds / 1000


def without_thread() -> float:
    """Seconds that this thread's request waited for one."""
    return 0.0 if current.at is None or current.begun is None else current.begun - current.at
