"""SIGTERM: the service is not ready any more, answers whom it has let in, and ends without waiting for anybody else."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.serving.wire import Connection, answered, connections, get, predict
from tests.serving.workers import wait

pytestmark = pytest.mark.slow  # starts several servers or a browser

LITE = {"RUNTIME": "litert"}  # which starts sooner
# The time that requests under way are given is far longer than that in which the service must end without them.
PATIENT = LITE | {"GRACEFUL_TIMEOUT": "3000"}
END = 300  # seconds in which a service without requests ends at the latest

Start = Callable[..., AbstractContextManager[Any]]


def ask_until_closed(connection: Connection, request: bytes, statuses: list[int]) -> None:
    """Ask again and again on one connection, until the server says that it closes it, or does so without a word."""
    with suppress(EOFError, ConnectionError):
        while True:
            reply = connection.ask(request)
            statuses.append(reply.status)
            if reply.headers["Connection"] == "close":
                return


def test_a_service_that_ends_is_alive_and_predicts_but_is_not_ready(models: Path, start: Start) -> None:
    requests = [get("/readyz"), get("/v2/health/ready"), get("/healthz"), get("/v2/health/live"), predict()]
    with start(models, **LITE, DRAIN_SECONDS="5") as server:
        server.wait_until_ready()
        with connections(server, len(requests)) as clients:
            answers: list[list[int]] = [
                [each.ask(request).status] for each, request in zip(clients, requests, strict=True)
            ]
            asking = [
                threading.Thread(target=ask_until_closed, args=each)
                for each in zip(clients, requests, answers, strict=True)
            ]
            for thread in asking:
                thread.start()
            server.process.send_signal(signal.SIGTERM)
            for thread in asking:
                thread.join()
        assert server.process.wait(END) == 0
    ready, v2_ready, *others = answers
    for statuses in (ready, v2_ready):
        changes = [status for place, status in enumerate(statuses) if status != statuses[place - 1] or place == 0]
        assert changes == [200, 503]
    assert [set(statuses) for statuses in others] == [{200}, {200}, {200}]


def test_whoever_has_connected_before_the_end_is_answered(models: Path, start: Start) -> None:
    with start(models, **LITE) as server:
        server.wait_until_ready()
        (worker,) = server.workers()
        # The kernel has taken these connections, and the worker that stands still has not.
        os.kill(worker, signal.SIGSTOP)
        with connections(server, 5) as clients:
            for each in clients:
                each.send(predict(Connection="close"))
            server.process.send_signal(signal.SIGTERM)
            os.kill(worker, signal.SIGCONT)
            assert [each.reply().status for each in clients] == [200] * 5
            assert all(each.is_closed() for each in clients)
        assert server.process.wait(END) == 0


def test_idle_connections_do_not_hold_up_the_end(models: Path, start: Start) -> None:
    with start(models, **PATIENT) as server:
        server.wait_until_ready()
        with connections(server, 6) as clients:
            for kept in clients[:2]:
                assert kept.ask(predict()).status == 200
            for gone in clients[2:4]:  # answered for the last time, and not closed by the client
                assert gone.ask(predict(Connection="close")).status == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(END) == 0


def test_a_worker_that_ends_leaves_its_last_figures_to_the_others(models: Path, start: Start) -> None:
    name = 'serving_requests_total{code="200",model="fashion_mnist",protocol="native",version="1"} 3.0'
    with start(models, **LITE) as server:
        server.wait_until_ready()
        (worker,) = server.workers()
        with Connection(server.port) as client:
            for _ in range(3):
                assert client.ask(predict()).status == 200
        os.kill(worker, signal.SIGTERM)
        wait(lambda: worker not in server.workers(), server)
        server.wait_until_ready()
        with Connection(server.port) as client:
            assert name in client.ask(get("/metrics")).body.decode().splitlines()


def test_a_worker_that_ends_alone_waits_for_its_requests_longer_than_for_a_hanging_process(
    models: Path, start: Start
) -> None:
    whole = predict()
    with start(models, **LITE, GUNICORN_CMD_ARGS="--timeout 10") as server:
        server.wait_until_ready()
        (worker,) = server.workers()
        with Connection(server.port) as client:
            client.send(whole[:-100])
            assert not answered([client], 0.2)
            os.kill(worker, signal.SIGTERM)
            assert not answered([client], 12)
            assert client.ask(whole[-100:]).status == 200


def test_a_worker_that_ends_alone_waits_for_graceful_timeout_at_most(models: Path, start: Start) -> None:
    with start(models, **LITE, GRACEFUL_TIMEOUT="3") as server:
        server.wait_until_ready()
        (worker,) = server.workers()
        with Connection(server.port) as client:
            client.send(predict()[:-100])
            assert not answered([client], 0.2)
            os.kill(worker, signal.SIGTERM)
            assert not answered([client], 2)
            end = time.monotonic() + 25  # sooner than gunicorn would kill it
            wait(lambda: worker not in server.workers(), server)
            assert time.monotonic() < end
            assert client.is_closed()
        assert "Traceback" not in server.log.read_text()


def test_a_worker_that_has_answered_its_share_of_requests_loses_none(models: Path, start: Start) -> None:
    def ask(port: int, statuses: list[int]) -> None:
        while len(statuses) < 300:
            with Connection(port) as client:
                closing = False
                while not closing and len(statuses) < 300:
                    reply = client.ask(predict())
                    statuses.append(reply.status)
                    closing = reply.headers["Connection"] == "close"

    settings = {"WORKERS": "2", "READY_TIMEOUT": "300", "DEADLINE_MS": "300000"}
    with start(models, **LITE, **settings, GUNICORN_CMD_ARGS="--max-requests 100") as server:
        server.wait_until_ready()
        first = set(server.workers())
        answers: list[list[int]] = [[] for _ in range(8)]
        asking = [threading.Thread(target=ask, args=(server.port, statuses)) for statuses in answers]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert answers == [[200] * 300] * 8
        wait(lambda: not first & set(server.workers()), server)
