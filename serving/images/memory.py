"""Limits the memory that all requests of a worker use together to decode images."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import DeadlineError

COUNTED = 2**20  # bytes; images that need less are limited by the number of threads


class DecodingMemory:
    """The memory in use. Requests that find too little free wait in turn, so that large images are not starved."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._taken = 0

    @contextmanager
    def taken(self, size: int, most: int, due: float) -> Iterator[None]:
        """Reserve `size` bytes, of `most` in all, for the block.

        Raises:
            DeadlineError: too few bytes were free until `due`, a time of the monotonic clock.
        """
        if size < COUNTED:
            yield
            return
        self._take(size, most, due)
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()

    def _take(self, size: int, most: int, due: float) -> None:
        if self._turn.acquire(timeout=_left(due)):
            try:
                with self._changed:
                    if self._changed.wait_for(lambda: self._taken + size <= most, _left(due)):
                        self._taken += size
                        return
            finally:
                self._turn.release()
        raise DeadlineError("The images waited for memory to be decoded longer than a request may. Try again.")


def _left(due: float) -> float:
    return max(0.0, min(due - time.monotonic(), threading.TIMEOUT_MAX))
