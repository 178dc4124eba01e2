"""Which worker takes a new connection."""

import pytest

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
