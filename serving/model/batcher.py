"""Micro-batching: requests that wait together are answered together, before the model in one bounded queue.

There is no thread of its own and no window to tune. A request that finds the model free runs it at once; those
that come meanwhile wait, and when the run is over the first of them takes all that wait along with itself.
Alone, a request pays two uncontended locks; under load, batches form by themselves.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.errors import DeadlineError, OverloadedError
from serving.images.pixels import Images
from serving.model.served import Predictor


@dataclass(frozen=True)
class Answer:
    """What the model says, and how long it took.

    Attributes:
        probabilities: float32 of shape (n, classes).
        queued: seconds from joining the queue to the begin of the run.
        computed: seconds of the run, which may have answered for others too.
        batch: images in that run.
    """

    probabilities: NDArray[np.float32]
    queued: float
    computed: float
    batch: int


@dataclass(eq=False)
class _Ticket:
    """One request in the queue; its thread sleeps on `signal` until it is answered or told to lead."""

    predictor: Predictor
    images: Images
    deadline: float
    joined: float
    signal: threading.Lock
    leads: bool = False
    outcome: Answer | BaseException | None = field(default=None)

    def settle(self, outcome: Answer | BaseException) -> None:
        self.outcome = outcome
        self.signal.release()


class Batcher:
    """The queue of one worker; any thread may call `predict`.

    Args:
        capacity: requests that may wait; one more is refused.
        largest: images that one run takes at most, unless a single request brings more.
        clock: what deadlines are measured by, in seconds.
    """

    def __init__(self, capacity: int, largest: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._largest = largest
        self._clock = clock
        self._mutex = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """Requests in the queue now, without those in the model."""
        return len(self._queue)

    def predict(self, predictor: Predictor, images: Images, deadline: float) -> Answer:
        """Ask `predictor`, in company if others wait for it too.

        Args:
            predictor: the version that shall answer; different versions never share a run.
            images: uint8 of shape (n, height, width, channels), n at least 1.
            deadline: when it is too late to begin, by the clock.

        Raises:
            OverloadedError: the queue is full.
            DeadlineError: it waited until its deadline.
        """
        ticket, alone = self._join(predictor, images, deadline)
        if alone or self._wait(ticket):
            self._lead()
        if isinstance(ticket.outcome, Answer):
            return ticket.outcome
        assert ticket.outcome is not None  # noqa: S101  # whoever wakes it has settled it
        raise ticket.outcome

    def _join(self, predictor: Predictor, images: Images, deadline: float) -> tuple[_Ticket, bool]:
        """A new ticket in the queue, and whether it found the model free and leads at once.

        Not to be asked of the ticket later: one that is told to lead meanwhile has a signal to wait for.
        """
        # A taken lock is the cheapest event: a second acquire sleeps until whoever settles the ticket releases it.
        signal = threading.Lock()
        signal.acquire()
        ticket = _Ticket(predictor, images, deadline, self._clock(), signal)
        with self._mutex:
            if len(self._queue) >= self._capacity:
                raise OverloadedError(f"The server answers {self._capacity} waiting requests first. Try again.")
            alone = not self._busy
            self._busy = True
            self._queue.append(ticket)
        return ticket, alone

    def _wait(self, ticket: _Ticket) -> bool:
        """Sleep until the ticket is settled (False), or it is its turn to lead (True)."""
        while not ticket.signal.acquire(timeout=max(0.0, min(ticket.deadline - self._clock(), threading.TIMEOUT_MAX))):
            with self._mutex:
                if ticket in self._queue and not ticket.leads:
                    self._queue.remove(ticket)
                    ticket.outcome = _too_late()
                    return False
            # Its run has begun, or it is just being told to lead: either signal is on its way.
            ticket.deadline = threading.TIMEOUT_MAX
        return ticket.leads

    def _lead(self) -> None:
        """Run the model once, for the head of the queue and all that fits beside it; then pass the lead on."""
        with self._mutex:
            batch = self._take()
        try:
            self._run(batch)
        finally:
            with self._mutex:
                if self._queue:
                    heir = self._queue[0]
                    heir.leads = True
                    heir.signal.release()
                else:
                    self._busy = False

    def _take(self) -> list[_Ticket]:
        """The tickets of the next run: one version, in time, in their order, and no more than the largest batch."""
        now = self._clock()
        batch: list[_Ticket] = []
        images = 0
        while self._queue:
            ticket = self._queue[0]
            if ticket.deadline <= now:
                self._queue.popleft().settle(_too_late())
                continue
            images += len(ticket.images)
            if batch and (ticket.predictor is not batch[0].predictor or images > self._largest):
                break
            batch.append(self._queue.popleft())
        return batch

    def _run(self, batch: list[_Ticket]) -> None:
        if not batch:
            return
        begin = self._clock()
        try:
            together = np.concatenate([each.images for each in batch]) if len(batch) > 1 else batch[0].images
            probabilities = batch[0].predictor.predict(together)
        except BaseException as error:
            for each in batch:
                each.settle(error)
            return
        computed = self._clock() - begin
        place = 0
        for each in batch:
            rows = probabilities[place : place + len(each.images)]
            place += len(rows)
            each.settle(Answer(rows, begin - each.joined, computed, len(together)))


def _too_late() -> DeadlineError:
    return DeadlineError("The request waited longer than it may before the model was free. Try again.")
