"""Which worker takes a new connection, and which requests it takes: no more than may wait, and then others again."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from serving import worker
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


def connection() -> Connection:
    return Connection(sock=SimpleNamespace(setsockopt=lambda *_: None))


class Pool:
    """Threads that take their time: each future ends when the test says so."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *_: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


def test_those_that_are_still_being_refused_keep_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadWorker, "finish_request", lambda *_: None)
    made = worker_with(0, slot=0)
    taking, refusing = Pool(), Pool()
    made.tpool, made._refusing, made._limit, made._taken = taking, refusing, 2, 0
    made.method_queue = SimpleNamespace(defer=lambda call, *arguments: call(*arguments))
    for _ in range(5):
        made.enqueue_req(connection())
    assert (len(taking.futures), len(refusing.futures)) == (2, 3)
    taking.futures[0].set_result(True)
    made.enqueue_req(connection())
    assert (len(taking.futures), len(refusing.futures)) == (3, 3)
    made._staying.add(connection())  # it has its answer, and only may ask again
    made.enqueue_req(connection())
    assert (len(taking.futures), len(refusing.futures)) == (4, 3)
    made.gone()


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
