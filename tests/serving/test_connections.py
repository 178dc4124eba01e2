"""Connections that are slow, idle, many, or speak no HTTP: none of them costs anybody else an answer."""

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.serving.wire import TIMEOUT, Connection, answered, connections, get, head, in_order_of_arrival, predict
from tests.serving.workers import wait

pytestmark = pytest.mark.slow  # starts several servers or a browser

LITE = {"RUNTIME": "litert"}  # which starts sooner

Start = Callable[..., AbstractContextManager[Any]]


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """A process that is started inside may have so many files and sockets open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def lone(models: Path, start_shared: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """A server with one thread, whose clients have a second for each request."""
    with start_shared(models, **LITE, THREADS="1", CLIENT_TIMEOUT="1") as server:
        server.wait_until_ready()
        yield server


def test_silent_connections_keep_nobody_from_an_answer(lone: Any) -> None:
    with connections(lone, 5) as silent, Connection(lone.port) as client:
        assert client.ask(predict()).status == 200
        assert not answered(silent)


def test_a_busy_connection_keeps_nobody_from_an_answer(lone: Any) -> None:
    asking = threading.Event()

    def keep_asking(connection: Connection) -> None:
        while asking.is_set():
            assert connection.ask(predict()).status == 200

    with Connection(lone.port) as busy:
        asking.set()
        thread = threading.Thread(target=keep_asking, args=(busy,))
        thread.start()
        try:
            for _ in range(5):
                with Connection(lone.port) as client:
                    assert client.ask(predict()).status == 200
        finally:
            asking.clear()
            thread.join()


def test_requests_that_come_together_are_answered_in_their_order(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(b"".join(predict(X_Request_ID=f"number-{number}") for number in range(5)))
        identities = [client.reply().headers["X-Request-ID"] for _ in range(5)]
    assert identities == [f"number-{number}" for number in range(5)]


def test_a_connection_may_pause_between_requests(lone: Any) -> None:
    with Connection(lone.port) as client:
        for pause in (2.5, 0):
            assert client.ask(predict()).status == 200
            time.sleep(pause)


def test_a_client_that_pauses_within_a_body_is_told_so(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(predict()[:-100])
        with Connection(lone.port) as other:
            reply = other.ask(get("/healthz"))
            assert reply.status == 200
        reply = client.reply()
        assert reply.status == 408
        assert "in time" in json.loads(reply.body)["detail"]
        assert client.is_closed()
    assert "Traceback" not in lone.log.read_text()


def test_clients_that_keep_back_the_end_of_their_bodies_keep_nobody_from_an_answer(models: Path, start: Start) -> None:
    with start(models, **LITE, MAX_BODY_BYTES="10000") as server:
        server.wait_until_ready()
        with connections(server, 20) as slow, Connection(server.port) as client:
            for each in slow:  # more than the server reads at a time
                each.send(head("/predict", 10_000) + bytes(9_990))
            statuses = [reply.status for _, (_, reply) in zip(range(12), in_order_of_arrival(slow), strict=False)]
            assert set(statuses) == {503}
            assert client.ask(predict()).status == 200


def test_a_client_that_does_not_read_keeps_nobody_from_an_answer(models: Path, start: Start) -> None:
    with start(models, **LITE, THREADS="2") as server:
        server.wait_until_ready()
        with Connection(server.port) as deaf, Connection(server.port) as client:
            request = predict(bytes(784 * 256), "/predict?pixels=1")  # its answer has half a megabyte
            deaf.sock.settimeout(1)
            with suppress(TimeoutError):
                while True:  # until the server reads no more, since its own answers are not read
                    deaf.send(request)
            assert client.ask(predict()).status == 200
            deaf.sock.settimeout(TIMEOUT)
            assert deaf.reply().status == 200


def test_a_client_that_does_not_hang_up_keeps_nobody_from_an_answer(lone: Any) -> None:
    with connections(lone, 5) as answered_ones:
        for each in answered_ones:
            assert each.ask(predict(Connection="close")).status == 200
        with Connection(lone.port) as client:
            assert client.ask(predict()).status == 200
        assert all(each.is_closed() for each in answered_ones)


def test_a_client_that_is_turned_away_with_a_long_body_hears_why(models: Path, start: Start) -> None:
    length = 2**23  # bytes; more than the kernel keeps
    with start(models, **LITE, API_KEYS="0" * 64) as server:
        server.wait_until_ready()
        for missing in (0, 1):
            with Connection(server.port) as client:
                reply = client.ask(head("/predict", length + missing) + bytes(length))
                assert (reply.status, json.loads(reply.body)["status"]) == (401, 401)


def test_connections_that_have_ended_leave_no_count_behind(models: Path, start: Start) -> None:
    with start(models, **LITE) as server:
        server.wait_until_ready()
        for worker in server.workers():
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (200, 200))
        for headers in ({"Connection": "close"}, {}):
            for _ in range(150):
                with Connection(server.port) as client:
                    assert client.ask(predict(**headers)).status == 200


def test_a_service_without_a_free_descriptor_answers_when_it_has_one_again(models: Path, start: Start) -> None:
    with start(models, **LITE) as server:
        server.wait_until_ready()
        workers = server.workers()
        for worker in workers:
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (200, 200))
        with few_descriptors(1000), connections(server, 400):
            time.sleep(0.5)
        with Connection(server.port) as client:
            assert client.ask(predict()).status == 200
        assert server.workers() == workers
        assert "Traceback" not in server.log.read_text()


def test_a_host_is_demanded_where_the_standard_demands_one(lone: Any) -> None:
    """RFC 9112, section 3.2: a request of HTTP/1.1 without it must be answered with 400; HTTP/1.0 has none."""
    for version, status in (("1.1", 400), ("1.0", 200)):
        for request in (get("/healthz"), predict()):
            with Connection(lone.port) as client:
                reply = client.ask(request.replace(b"HTTP/1.1\r\nHost: test", f"HTTP/{version}".encode()))
                assert reply.status == status
                assert (b"must have the header Host" in reply.body) == (status == 400)


def test_a_request_that_names_two_hosts_is_refused(lone: Any) -> None:
    with Connection(lone.port) as client:
        reply = client.ask(get("/healthz").replace(b"Host: test", b"Host: test\r\nHost: other"))
        assert reply.status == 400
        assert b"one header Host" in reply.body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_answered_with_an_id_and_the_headers_of_other_answers(
    lone: Any, request_: bytes, status: int
) -> None:
    with Connection(lone.port) as client:
        reply = client.ask(request_)
        assert reply.status == status
        assert len(reply.headers["X-Request-ID"]) == 32
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert client.is_closed()


def test_one_scrape_shows_what_all_workers_did(models: Path, start: Start) -> None:
    """The scraped worker is always the same one, since it is asked on one connection."""
    with start(models, **LITE, WORKERS="2", ACCESS_LOG="1") as server, Connection(server.port) as scraper:
        server.wait_until_ready()
        asked, end = 0, time.monotonic() + TIMEOUT
        opened: list[Connection] = []
        try:
            while len(processes(server)) < 2 or asked < 10:
                assert time.monotonic() < end, "one worker answered everything"
                opened.append(Connection(server.port))
                if len(opened) > 200:  # or this process runs out of descriptors
                    opened.pop(0).__exit__()
                reply = opened[-1].ask(predict())
                asked += reply.status == 200  # a worker that has not yet loaded its model answers 503
            series = 'code="200",model="fashion_mnist",protocol="native",version="1"'
            wanted = f"serving_requests_total{{{series}}} {float(asked)}"
            while wanted not in scraper.ask(get("/metrics")).body.decode().splitlines():
                assert time.monotonic() < end, wanted
                time.sleep(0.1)
        finally:
            for each in opened:
                each.__exit__()


def test_connections_that_come_at_once_are_shared_among_the_workers(models: Path, start: Start) -> None:
    """uvloop accepts all that wait, so that one worker would have nearly all of them."""
    with start(models, **LITE, WORKERS="2") as server:
        wait(lambda: server.log.read_text().count("is ready after") == 2, server)
        before = [sockets(worker) for worker in server.workers()]

        def shares() -> list[int]:
            return [sockets(worker) - idle for worker, idle in zip(server.workers(), before, strict=True)]

        # On a busy machine, one of the workers may not run at all for a round.
        fewer: list[int] = []
        while sum(sorted(fewer)[-10:]) < 40 and len(fewer) < 40:
            wait(lambda: sum(shares()) == 0, server)
            with ExitStack() as opened:
                clients = [opened.enter_context(socket.socket()) for _ in range(32)]
                for each in clients:
                    each.setblocking(False)  # so that none waits for the one before it
                    each.connect_ex(("127.0.0.1", server.port))
                wait(lambda: sum(shares()) == 32, server)
                fewer.append(min(shares()))
        assert sum(sorted(fewer)[-10:]) >= 40  # of 320


def sockets(process: int) -> int:
    """The sockets that a process has open."""
    count = 0
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += "socket:" in os.readlink(each)
    return count


def processes(server: Any) -> set[int]:
    """The processes that have answered a prediction, by the access log."""
    whole = server.log.read_text().rpartition("\n")[0]  # the last line may be in the middle of its writing
    lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return {line["process"] for line in lines if line["message"] == "POST /predict" and line["code"] == 200}


def test_a_thousand_silent_connections_keep_nobody_from_an_answer(models: Path, start: Start) -> None:
    with few_descriptors(4096), start(models, **LITE) as server:  # more than it takes connections
        server.wait_until_ready()
        with connections(server, 1100), Connection(server.port) as client:
            assert client.ask(get("/healthz")).status == 200
            assert client.ask(predict()).status == 200


LONG = predict(bytes(784 * 64))  # one that a thread answers, not the event loop
CHUNKED = head("/predict", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (get("/healthz", X_Long="x" * 40_000), 431),
        (CHUNKED + b"no size\r\n", 400),
        (get("/healthz").replace(b"Host: test", b"Host"), 400),
    ],
)
def test_a_request_is_answered_before_what_follows_it_is_refused(lone: Any, second: bytes, status: int) -> None:
    with Connection(lone.port) as client:
        assert client.ask(LONG + second).status == 200
        assert client.reply().status == status
        assert client.is_closed()
    assert "Traceback" not in lone.log.read_text()


def test_all_requests_are_answered_before_what_follows_them_is_refused(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(get("/healthz") * 3 + b"nonsense\r\n\r\n")
        assert [client.reply().status for _ in range(4)] == [200, 200, 200, 400]
        assert client.is_closed()
    assert "Traceback" not in lone.log.read_text()


def test_a_request_is_answered_before_its_client_hears_that_the_next_one_was_cut_off(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(LONG + head("/predict", 784) + bytes(100))
        client.sock.shutdown(socket.SHUT_WR)
        assert [client.reply().status, client.reply().status] == [200, 400]
        assert client.is_closed()


def test_the_end_of_a_long_body_is_no_part_of_the_next_head(server: Any) -> None:
    with Connection(server.port) as client:
        client.send(LONG[:100])
        time.sleep(0.2)
        client.send(LONG[100:] + get("/healthz")[:20])
        assert client.reply().status == 200
        assert client.ask(get("/healthz")[20:]).status == 200


def test_trailers_are_bounded_as_headers_are(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(CHUNKED + b"2\r\n[]\r\n0\r\nX-Long: " + b"x" * 2**20)
        assert client.reply().status == 431
        assert client.is_closed()


def test_a_client_that_never_waits_for_an_answer_is_refused_after_many_requests(lone: Any) -> None:
    with Connection(lone.port) as client:
        client.send(LONG + get("/healthz") * 1000)
        statuses = []
        with suppress(EOFError, ConnectionError):
            while True:
                statuses.append(client.reply().status)
    assert statuses[-1] == 400
    assert set(statuses[:-1]) == {200}
    assert 100 < len(statuses) < 1000


def test_a_client_that_reads_nothing_is_disconnected(lone: Any) -> None:
    with Connection(lone.port) as deaf:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        with pytest.raises(ConnectionError):
            deaf.send(predict(bytes(784 * 256), "/predict?pixels=1") * 1000)


def test_a_connection_that_is_in_use_outlives_a_crowd_of_silent_ones(models: Path, start: Start) -> None:
    with start(models, **LITE, GUNICORN_CMD_ARGS="--worker-connections 50") as server, Connection(server.port) as used:
        server.wait_until_ready()
        assert used.ask(predict()).status == 200
        with connections(server, 200):
            assert used.ask(predict()).status == 200


def test_a_request_that_proposes_another_protocol_is_answered_with_its_body(server: Any) -> None:
    """RFC 9110, section 7.8: a server may ignore Upgrade; Java's client proposes h2c in each first request."""
    proposal = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    with Connection(server.port) as client:
        assert client.ask(predict(**proposal)).status == 200
    whole = predict(**proposal)
    with Connection(server.port) as client:
        for place in range(len(whole) - 800, len(whole) - 600, 3):
            client.send(whole[:place])
            time.sleep(0.002)
            assert client.ask(whole[place:]).status == 200
        assert client.ask(whole + get("/healthz")).status == 200
        assert client.reply().status == 200
