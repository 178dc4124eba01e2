"""How much memory all requests of a worker may decode images into together, and the wait for one's share of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import DeadlineError

COUNTED = 2**20  # bytes; images that take less are bounded by the number of threads


class DecodingMemory:
    """Bytes that are taken now; who finds too few left waits, in turn, so that a large image gets its share too."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._taken = 0

    @contextmanager
    def taken(self, size: int, most: int, due: float) -> Iterator[None]:
        """Hold `size` bytes of at most `most` inside.

        Raises:
            DeadlineError: they were not free by `due`, by the monotonic clock.
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
    return max(0.0, due - time.monotonic())
