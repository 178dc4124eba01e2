"""Micro-batching: requests that wait for the model together are answered in one run of it.

There is no window to tune. A request that finds the model free runs it at once; those that come meanwhile wait, and
the next run takes all that wait. A lone request pays for one uncontended lock.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.errors import DeadlineError
from serving.images.pixels import Images
from serving.model.served import Predictor


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says, and how long it took.

    Attributes:
        probabilities: float32 of shape (n, classes).
        queued: seconds from joining the queue to the start of the run.
        computed: seconds of the run, which may have answered others too.
        batch: images in that run.
    """

    probabilities: NDArray[np.float32]
    queued: float
    computed: float
    batch: int


@dataclass(eq=False, slots=True)
class _Job:
    """A request that waits for the model."""

    predictor: Predictor
    images: Images
    joined: float
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """The queue before the model of one worker; any thread may call `predict`. How many may wait, others decide.

    Args:
        clock: what deadlines are measured by, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._model = threading.Lock()  # held by who runs the model
        self._queue: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(1, "batch")

    @property
    def waiting(self) -> int:
        """Requests in the queue now, without those in the model."""
        return len(self._queue)

    def predict(self, predictor: Predictor, images: Images, deadline: float) -> Answer:
        """Ask `predictor`, together with other requests that wait for it.

        More images than its largest run takes are answered in several runs, between which others have their turn.

        Args:
            predictor: the version that shall answer; different versions never share a run.
            images: of shape (n, height, width, channels), n at least 1.
            deadline: when it is too late to begin, by the clock.

        Raises:
            DeadlineError: it waited until its deadline.
        """
        most = predictor.largest
        first = self._predict(predictor, images[:most], deadline)
        rest = [
            self._predict(predictor, images[start : start + most], math.inf) for start in range(most, len(images), most)
        ]
        return _joined([first, *rest]) if rest else first

    def _predict(self, predictor: Predictor, images: Images, deadline: float) -> Answer:
        """Answer no more images than the largest run takes."""
        joined = self._clock()
        if joined >= deadline:
            raise _too_late()
        if not self._queue and self._model.acquire(blocking=False):
            try:
                begin = self._clock()
                probabilities = predictor.predict(images)
                return Answer(probabilities, 0.0, self._clock() - begin, len(images))
            finally:
                self._model.release()
        job = _Job(predictor, images, joined)
        self._queue.append(job)
        self._thread.submit(self._run_next)
        try:
            return job.future.result(min(deadline - joined, threading.TIMEOUT_MAX))
        except TimeoutError:
            if not job.future.cancel():
                return job.future.result()  # its run has begun
            with suppress(ValueError):  # which has just been taken off the queue
                self._queue.remove(job)
            raise _too_late() from None

    def _run_next(self) -> None:
        """One run for the first job in the queue and those that fit with it; called once a job, so often for none."""
        with self._model:
            if batch := self._take():
                self._run(batch)

    def _take(self) -> list[_Job]:
        """The jobs of the next run: one version, in their order, and no more images than the largest batch."""
        batch: list[_Job] = []
        images = 0
        while self._queue:
            job = self._queue[0]
            images += len(job.images)
            if batch and (job.predictor is not batch[0].predictor or images > job.predictor.largest):
                break
            self._queue.popleft()
            if job.future.set_running_or_notify_cancel():
                batch.append(job)
            else:
                images -= len(job.images)  # its deadline has passed
        return batch

    def _run(self, batch: list[_Job]) -> None:
        begin = self._clock()
        try:
            together = np.concatenate([each.images for each in batch]) if len(batch) > 1 else batch[0].images
            probabilities = batch[0].predictor.predict(together)
        except BaseException as error:
            for each in batch:
                each.future.set_exception(error)
            return
        computed = self._clock() - begin
        place = 0
        for each in batch:
            rows = probabilities[place : place + len(each.images)]
            place += len(rows)
            each.future.set_result(Answer(rows, begin - each.joined, computed, len(together)))


def _joined(answers: list[Answer]) -> Answer:
    """The answers to the parts of one request as one."""
    return Answer(
        np.concatenate([each.probabilities for each in answers]),
        sum(each.queued for each in answers),
        sum(each.computed for each in answers),
        max(each.batch for each in answers),
    )


def _too_late() -> DeadlineError:
    return DeadlineError("The request waited longer than it may before the model was free. Try again.")
