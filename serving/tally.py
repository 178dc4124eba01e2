"""What requests note as they go, added up into the metrics once a second.

A value that is written into memory shared by the workers costs microseconds, and a request has some twenty; a note is
one append. So metrics are up to a second behind, and a worker that is killed takes its last second's with it.
"""

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import arrival, metrics

SUM_SECONDS = 1.0  # between two sums
MOST_REPLIES = 1024  # noted, should nobody ask for a sum


@dataclass(frozen=True, slots=True)
class Reply:
    """A request and its reply: the face and code as they are labelled, and seconds from arrival to reply."""

    face: str
    code: int
    version: str
    seconds: float
    rejected: str | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction: seconds by phase, images of its run, requests that waited when it was over, and what it said.

    The probabilities are float32 of shape (n, classes).
    """

    phases: dict[str, float]
    batch: int
    waiting: int
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]


_replies: deque[Reply] = deque()
_predictions: deque[Prediction] = deque()
_added = time.monotonic()


def reply(note: Reply) -> None:
    """Note a reply; any thread may."""
    _replies.append(note)
    if len(_replies) >= MOST_REPLIES:
        add_up()


def prediction(note: Prediction) -> None:
    """Note a prediction, before its reply; any thread may."""
    _predictions.append(note)


def add_up_in_time() -> None:
    """Add up what was noted, if that is a second ago: for a worker's main loop."""
    if time.monotonic() - _added >= SUM_SECONDS:
        add_up()


def add_up() -> None:
    """Bring the metrics of this process up to date."""
    global _added
    _added = time.monotonic()
    _add_replies(_taken(_replies))
    _add_predictions(_taken(_predictions))


def _taken(notes: deque[Any]) -> list[Any]:
    """What is there now; each note is taken once, whoever else takes some meanwhile."""
    taken = []
    with suppress(IndexError):  # somebody else had the rest
        for _ in range(len(notes)):
            taken.append(notes.popleft())
    return taken


def _add_replies(notes: list[Reply]) -> None:
    for (face, code, version), count in Counter((note.face, note.code, note.version) for note in notes).items():
        metrics.REQUESTS.labels(face, code, version).inc(count)
    for face in {note.face for note in notes}:
        metrics.LATENCY.labels(face).observe_all(note.seconds for note in notes if note.face == face)
    for reason, count in Counter(note.rejected for note in notes if note.rejected).items():
        metrics.REJECTED.labels(reason).inc(count)


def _add_predictions(notes: list[Prediction]) -> None:
    metrics.QUEUE.set(notes[-1].waiting if notes else arrival.waiting())
    if not notes:
        return
    for phase in notes[0].phases:
        metrics.PHASES.labels(phase).observe_all(note.phases[phase] for note in notes)
    metrics.BATCH.observe_all(note.batch for note in notes)
    # Versions may differ in their classes.
    for classes in {note.classes for note in notes}:
        probabilities = np.concatenate([note.probabilities for note in notes if note.classes == classes])
        metrics.CONFIDENCE.observe_all(probabilities.max(axis=1))
        for index, count in Counter(probabilities.argmax(axis=1).tolist()).items():
            metrics.CLASSES.labels(classes[index]).inc(count)
