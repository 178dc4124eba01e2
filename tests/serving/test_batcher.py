"""Requests that wait together are answered together, each with its own rows, in time or with the reason why not."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.errors import DeadlineError
from serving.model.batcher import Answer, Batcher

NEVER = threading.TIMEOUT_MAX


@dataclass
class Gated:
    """Answers each image with its own first pixel, once its gate is open; notes the size of each run."""

    gate: threading.Event = field(default_factory=threading.Event)
    runs: list[int] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    card: Any = None
    version: int = 1
    largest: int = 64

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.runs.append(len(images))
        self.begun.release()
        assert self.gate.wait(300)
        if (images == 255).any():
            raise RuntimeError("broken")
        return images[:, 0, 0].astype(np.float32)


def image(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 28, 28, 1), value, np.uint8)


def wait_for(batcher: Batcher, waiting: int) -> None:
    end = time.monotonic() + 300
    while batcher.waiting != waiting:
        assert time.monotonic() < end
        time.sleep(0.001)


def ask(
    pool: ThreadPoolExecutor, batcher: Batcher, model: Gated, images: NDArray[np.uint8], deadline: float = NEVER
) -> Future[Answer]:
    """Ask from another thread; return once the request stands in the queue or in the model."""
    before, runs = batcher.waiting, len(model.runs)
    future = pool.submit(batcher.predict, model, images, deadline)
    end = time.monotonic() + 300
    while batcher.waiting == before and len(model.runs) == runs and not future.done():
        assert time.monotonic() < end
        time.sleep(0.001)
    return future


def test_alone_a_request_is_run_at_once_in_its_own_thread() -> None:
    model = Gated()
    model.gate.set()
    answer = Batcher().predict(model, image(7, 3), NEVER)
    assert answer.probabilities.tolist() == [[7], [7], [7]]
    assert (answer.batch, model.runs) == (3, [3])


def test_each_request_reports_its_own_time_in_the_queue() -> None:
    now = [0.0]
    model, batcher = Gated(), Batcher(lambda: now[0])
    with ThreadPoolExecutor(3) as pool:
        futures = []
        for now[0] in (0.0, 10.0, 13.0):
            futures.append(ask(pool, batcher, model, image(1)))
        now[0] = 20.0
        model.gate.set()
        answers = [future.result(30) for future in futures]
    assert [answer.batch for answer in answers] == [1, 2, 2]
    assert [answer.queued for answer in answers] == [0, 10, 7]


def test_those_that_come_during_a_run_share_the_next_and_get_their_own_rows() -> None:
    model, batcher = Gated(), Batcher()
    with ThreadPoolExecutor(5) as pool:
        futures = [ask(pool, batcher, model, image(value, value)) for value in (1, 2, 3, 4)]
        model.gate.set()
        answers = [future.result(30) for future in futures]
    assert model.runs == [1, 9]
    assert [answer.probabilities[:, 0].tolist() for answer in answers] == [[1], [2, 2], [3, 3, 3], [4, 4, 4, 4]]
    assert [answer.batch for answer in answers] == [1, 9, 9, 9]


def test_no_run_is_larger_than_the_largest_and_a_larger_request_is_answered_in_several() -> None:
    model, batcher = Gated(largest=4), Batcher()
    with ThreadPoolExecutor(5) as pool:
        futures = [ask(pool, batcher, model, image(1, count)) for count in (1, 3, 2, 9, 1)]
        model.gate.set()
        assert [len(future.result(30).probabilities) for future in futures] == [1, 3, 2, 9, 1]
    assert sum(model.runs) == 16
    assert max(model.runs) == 4


def test_a_large_request_gets_the_rows_of_its_runs_in_order() -> None:
    model, batcher = Gated(largest=4), Batcher()
    model.gate.set()
    answer = batcher.predict(
        model, np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8), NEVER
    )
    assert answer.probabilities[:, 0].tolist() == [*range(10)]
    assert (model.runs, answer.batch) == ([4, 4, 2], 4)


def test_others_have_their_turn_between_the_runs_of_a_large_request() -> None:
    model, batcher = Gated(largest=2), Batcher()
    with ThreadPoolExecutor(2) as pool:
        large = ask(pool, batcher, model, image(1, 4))
        small = ask(pool, batcher, model, image(2, 1))
        model.gate.set()
        assert len(large.result(30).probabilities) == 4
        assert len(small.result(30).probabilities) == 1
    assert model.runs == [2, 1, 2]


def test_a_run_takes_as_many_images_as_it_may() -> None:
    model, batcher = Gated(largest=4), Batcher()
    with ThreadPoolExecutor(4) as pool:
        futures = [ask(pool, batcher, model, image(1, count)) for count in (1, 1, 3, 1)]
        model.gate.set()
        assert [future.result(30).batch for future in futures] == [1, 4, 4, 1]


def test_versions_never_share_a_run() -> None:
    old, new, batcher = Gated(), Gated(version=2), Batcher()
    new.gate.set()
    with ThreadPoolExecutor(5) as pool:
        futures = [ask(pool, batcher, model, image(model.version)) for model in (old, old, new, new, old)]
        old.gate.set()
        assert [future.result(30).probabilities[0, 0] for future in futures] == [1, 1, 2, 2, 1]
    assert (old.runs, new.runs) == ([1, 1, 1], [2])


def test_a_request_past_its_deadline_leaves_the_queue_unserved() -> None:
    model, batcher = Gated(), Batcher()
    with ThreadPoolExecutor(3) as pool:
        first = ask(pool, batcher, model, image(1))
        late = ask(pool, batcher, model, image(2), time.monotonic() + 0.05)
        with pytest.raises(DeadlineError, match=r"^The request waited longer than it may before the model was free"):
            late.result(30)  # and the model still is at the first
        assert batcher.waiting == 0
        model.gate.set()
        first.result(30)
    assert model.runs == [1]


def test_a_request_that_comes_too_late_is_dropped_though_the_model_is_free() -> None:
    model, batcher = Gated(), Batcher()
    model.gate.set()
    with pytest.raises(DeadlineError):
        batcher.predict(model, image(1), time.monotonic() - 1)
    assert model.runs == []
    assert batcher.predict(model, image(1), NEVER).batch == 1


def test_a_deadline_during_the_run_does_not_lose_the_answer() -> None:
    now = [0.0]

    class Slow(Gated):
        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            now[0] += bool(self.runs)  # the second run begins in time and ends late
            return super().predict(images)

    model, batcher = Slow(), Batcher(lambda: now[0])
    with ThreadPoolExecutor(3) as pool:
        first = ask(pool, batcher, model, image(1))
        second = ask(pool, batcher, model, image(2), 0.5)
        third = ask(pool, batcher, model, image(3), 0.5)
        model.gate.set()
        first.result(30)
        assert [each.result(30).probabilities[0, 0] for each in (second, third)] == [2, 3]


def test_an_error_of_the_model_reaches_all_of_its_run_and_nobody_else() -> None:
    model, batcher = Gated(), Batcher()
    with ThreadPoolExecutor(3) as pool:
        futures = [ask(pool, batcher, model, image(value)) for value in (1, 255, 2)]
        model.gate.set()
        assert futures[0].result(30).batch == 1
        for future in futures[1:]:
            with pytest.raises(RuntimeError, match="broken"):
                future.result(30)
    assert batcher.predict(model, image(1), NEVER).batch == 1


def test_a_storm_of_threads_with_tight_deadlines_gets_right_answers_or_a_reason_and_ends_idle() -> None:
    class Quick(Gated):
        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            time.sleep(0.0005)
            return images[:, 0, 0].astype(np.float32)

    model, batcher = Quick(largest=16), Batcher()
    random = np.random.default_rng(0)
    jobs = [(int(value), int(count)) for value, count in random.integers(1, 9, (2000, 2))]

    def one(job: tuple[int, int]) -> str:
        value, count = job
        try:
            answer = batcher.predict(model, image(value, count), time.monotonic() + value / 200)
        except DeadlineError as error:
            return type(error).__name__
        assert answer.probabilities.tolist() == [[value]] * count
        return "answered"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(one, jobs, timeout=300))
    assert "answered" in outcomes
    assert batcher.waiting == 0
    assert batcher.predict(model, image(1), NEVER).batch == 1
