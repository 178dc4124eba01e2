"""Which worker takes a new connection, and which requests it takes: no more than may wait, and then others again."""

import errno
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from serving import worker
from serving.patience import Watch
from serving.worker import YIELDS, Worker


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times that a worker slept."""
    slept: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", slept.append)
    return slept


def worker_with(connections: int, *, slot: int) -> Worker:
    made = Worker.__new__(Worker)  # without gunicorn's arbiter, whose sockets and settings play no part
    made._slot = slot
    made._staying = set()
    made.nr_conns = connections
    return made


@pytest.mark.parametrize(("mine", "other", "waits"), [(3, 0, True), (2, 0, True), (1, 0, False), (4, 9, False)])
def test_a_worker_leaves_a_connection_to_one_that_has_fewer(
    naps: list[float], mine: int, other: int, waits: bool
) -> None:
    first, second = worker_with(mine, slot=0), worker_with(other, slot=1)
    first._let_others_go_first()
    assert len(naps) == (YIELDS if waits else 0)
    for each in (first, second):
        each.gone()


def test_a_worker_that_has_ended_is_not_waited_for(naps: list[float]) -> None:
    worker_with(0, slot=1).gone()
    alone = worker_with(5, slot=0)
    alone._let_others_go_first()
    alone.gone()
    assert naps == []


def test_a_worker_keeps_its_own_count_when_another_had_its_place() -> None:
    first, later = worker_with(5, slot=0), worker_with(0, slot=0)
    later.gone()
    first._let_others_go_first()
    assert first.nr_conns == 5
    first.gone()


class Connection(SimpleNamespace):
    __hash__ = object.__hash__


def connection(says: bytes = b"POST /predict HTTP/1.1") -> Connection:
    return Connection(sock=SimpleNamespace(setsockopt=lambda *_: None, recv=lambda size, _: says[:size]))


class Pool:
    """Threads that take their time: each future ends when the test says so."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *_: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that may hold two requests."""
    monkeypatch.setattr(ThreadWorker, "finish_request", lambda *_: None)
    made = worker_with(0, slot=0)
    made.tpool, made._aside, made._limit, made._taken, made._watch = Pool(), Pool(), 2, 0, Watch(60)
    made.method_queue = SimpleNamespace(defer=lambda call, *arguments: call(*arguments))
    yield made
    made.gone()


def held(made: Worker) -> tuple[int, int]:
    """The requests that it took, and those that it answers aside."""
    return len(made.tpool.futures), len(made._aside.futures)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live"])
def test_a_probe_waits_for_no_thread_and_takes_no_place(taking: Worker, path: str) -> None:
    for _ in range(3):
        taking.enqueue_req(connection(f"GET {path} HTTP/1.1".encode()))
    taking.enqueue_req(connection())
    assert held(taking) == (1, 3)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN])
def test_a_connection_that_cannot_be_had_now_ends_no_worker(taking: Worker, number: int) -> None:
    def accept() -> None:
        raise OSError(number, "not now")

    taking.accept(SimpleNamespace(accept=accept))
    assert taking.nr_conns == 0


def test_those_that_are_still_being_refused_keep_nobody_else_out(taking: Worker) -> None:
    for _ in range(5):
        taking.enqueue_req(connection())
    assert held(taking) == (2, 3)
    taking.tpool.futures[0].set_result(True)
    taking.enqueue_req(connection())
    assert held(taking) == (3, 3)
    taking._staying.add(connection())  # it has its answer, and only may ask again
    taking.enqueue_req(connection())
    assert held(taking) == (4, 3)


@pytest.mark.parametrize(("refused", "arrived", "ends"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_refused_request_whose_body_is_long_or_late_is_the_last_of_its_connection(
    monkeypatch: pytest.MonkeyPatch, refused: bool, arrived: bool, ends: int
) -> None:
    monkeypatch.setattr(ThreadWorker, "handle_request", lambda *_: True)
    closed: list[str] = []
    conn = SimpleNamespace(refused=refused, parser=SimpleNamespace(finish_body=lambda *_: arrived))
    made = worker_with(0, slot=0)
    made.handle_request(
        SimpleNamespace(force_close=lambda: closed.append("closed"), _expected_100_continue=False), conn
    )
    assert len(closed) == ends
    made.gone()
