"""More requests than the service can answer in time: the others are refused at once, in their protocol's own form."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.serving.gated import GatedModel
from tests.serving.wire import TIMEOUT, Connection, answered, connections, get, head, in_order_of_arrival, predict
from tests.serving.workers import wait

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]  # starts several servers or a browser

# One request is answered, and one may wait, for longer than any test takes.
SMALL = {"XLA": "0", "THREADS": "1", "MAX_QUEUE": "1", "DEADLINE_MS": "1000000"}
HASTY = SMALL | {"OVERLOAD_STATUS": "429", "DEADLINE_MS": "10000"}
ADMITTED = 2
SITE = "https://shop.example"
PROBLEM = "application/problem+json"
FORMS = {
    "/predict": ("detail", PROBLEM),
    "/v1/models/fashion_mnist:predict": ("error", "application/json"),
    "/v2/models/fashion_mnist/infer": ("error", "application/json"),
}


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> GatedModel:
    return GatedModel(tmp_path_factory.mktemp("gated"))


@dataclass
class Small:
    """A server that admits two requests, before a model that a test can hold."""

    server: Any
    gated: GatedModel

    @property
    def port(self) -> int:
        return self.server.port

    @contextmanager
    def full(self) -> Iterator[list[Connection]]:
        """Requests fill the server and are answered in the end; their connections."""
        waiting: list[Connection] = []
        with ExitStack() as opened:
            refused, end = False, time.monotonic() + TIMEOUT
            # Requests of the test before may still have their places for a moment, and a refusal may come late.
            while not refused or len(waiting) != ADMITTED or answered(waiting, 0.2):
                assert time.monotonic() < end, f"{len(waiting)} requests wait"
                waiting.append(opened.enter_context(Connection(self.port)))
                waiting[-1].send(predict(GatedModel.HELD))
                refused = answered(waiting[-1:], 0.2)
                for each in [each for each in waiting if answered([each])]:
                    assert each.reply().status in (503, 429)
                    waiting.remove(each)
            yield waiting
            with self.gated.open():
                assert [each.reply().status for each in waiting] == [200] * ADMITTED

    def samples(self) -> dict[str, float]:
        """What /metrics says: name and labels -> value."""
        with Connection(self.port) as client:
            lines = client.ask(get("/metrics")).body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[0] != "#"}


@pytest.fixture(scope="module")
def small(gated: GatedModel, start_shared: Callable[..., AbstractContextManager[Any]]) -> Iterator[Small]:
    with start_shared(gated.models, **SMALL, ACCESS_LOG="1") as server:
        server.wait_until_ready()
        yield Small(server, gated)


def test_as_many_requests_as_may_wait_are_answered_and_the_others_refused_before(small: Small) -> None:
    with connections(small, 8) as clients:
        for each in clients:
            each.send(predict(GatedModel.HELD))
        replies = in_order_of_arrival(clients)
        assert [next(replies)[1].status for _ in range(8 - ADMITTED)] == [503] * (8 - ADMITTED)
        with small.gated.open():
            assert [reply.status for _, reply in replies] == [200] * ADMITTED


def test_a_refusal_has_its_protocol_s_form_and_says_when_to_come_again(small: Small) -> None:
    with small.full() as waiting:
        for path, (member, kind) in FORMS.items():
            with Connection(small.port) as client:
                reply = client.ask(predict(path=path, X_Request_ID="mine"))
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert "Try again" in json.loads(reply.body)[member]
            assert reply.headers["Content-Type"] == kind
            assert reply.headers["X-Request-ID"] == "mine"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Cache-Control"] == "no-store"
        assert not answered(waiting)


def test_a_connection_that_was_refused_is_answered_when_there_is_time_again(small: Small) -> None:
    with Connection(small.port) as client:
        with small.full():
            assert client.ask(predict()).status == 503
        statuses = {503}
        while statuses == {503}:
            statuses = {client.ask(predict()).status}
        assert statuses == {200}


def test_clients_that_hang_up_take_no_place(small: Small) -> None:
    with Connection(small.port) as first, Connection(small.port) as second:
        with connections(small, 5) as idle:
            for each in idle:
                assert each.ask(get("/healthz")).status == 200
            first.send(predict(GatedModel.HELD))
            assert not answered([first], 0.2)
        second.send(predict(GatedModel.HELD))
        assert not answered([second], 0.5)
        with small.gated.open():
            assert first.reply().status == second.reply().status == 200


def test_refusals_are_counted_for_each_protocol(small: Small) -> None:
    with small.full(), connections(small, len(FORMS)) as clients:
        before = small.samples()
        for each, path in zip(clients, FORMS, strict=True):
            assert each.ask(predict(path=path)).status == 503
        after = small.samples()
    name = 'serving_rejected_total{reason="overload"}'
    assert after[name] - before[name] == len(FORMS)
    requests = [name for name in after if name.startswith('serving_requests_total{code="503"')]
    assert sorted(after[name] - before.get(name, 0) for name in requests)[-len(FORMS) :] == [1] * len(FORMS)


def test_requests_that_wait_and_how_long_they_did_are_seen_in_the_metrics(small: Small) -> None:
    name = 'serving_phase_seconds_sum{phase="queue"}'
    before = small.samples().get(name, 0)
    with small.full():
        time.sleep(1.2)
        wait(lambda: small.samples()["serving_queue_requests"] == 1, small.server)  # metrics may be behind
    assert small.samples()[name] - before > 1


def test_a_refusal_leaves_a_line_in_the_access_log_which_its_path_cannot_forge(small: Small) -> None:
    with small.full(), connections(small, 2) as clients:
        assert clients[0].ask(predict(X_Request_ID="refused-1")).status == 503
        clients[1].ask(predict(path="/%0a[ERROR]%20forged", X_Request_ID="refused-2"))
    text = small.server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("request_id") == "refused-1"]
    assert (line["message"], line["code"]) == ("POST /predict", 503)
    (line,) = [line for line in lines if line.get("request_id") == "refused-2"]
    assert "\n" not in line["message"]
    assert "forged" in line["message"]


def test_a_client_that_asks_before_it_sends_its_body_is_refused_without_it(small: Small) -> None:
    with small.full(), Connection(small.port) as client:
        client.send(head("/predict", 784, Expect="100-continue"))
        reply = client.reply()
        assert reply.status == 503
        assert reply.headers["Connection"].lower() == "close"
        assert client.is_closed()


def test_a_refused_client_hears_so_whatever_it_still_sends(small: Small) -> None:
    with small.full(), Connection(small.port) as client:
        assert client.ask(head("/predict", 2**23) + bytes(2**23)).status == 503


def test_probes_are_answered_while_others_are_refused(small: Small) -> None:
    # Half-sent probes are none, and keep no real one waiting.
    with small.full() as waiting, connections(small, 5) as halves:
        for each in halves:
            each.send(b"GET /healthz HT")
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            with Connection(small.port) as client:
                assert client.ask(get(path)).status == 200
        assert not answered(waiting)


@pytest.fixture(scope="module")
def hasty(gated: GatedModel, start_shared: Callable[..., AbstractContextManager[Any]]) -> Iterator[Small]:
    with start_shared(gated.models, **HASTY, CORS_ORIGINS=SITE) as server:
        server.wait_until_ready()
        yield Small(server, gated)


def test_refusals_have_the_status_that_was_chosen_and_pages_of_allowed_sites_may_read_them(hasty: Small) -> None:
    with hasty.full(), Connection(hasty.port) as client:
        reply = client.ask(predict(Origin=SITE))
        assert reply.headers["Access-Control-Allow-Origin"] == SITE
        assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
        assert json.loads(reply.body)["title"] == "Too Many Requests"


def test_a_request_that_waits_longer_than_its_deadline_is_answered_so(hasty: Small) -> None:
    name = 'serving_rejected_total{reason="deadline"}'
    before = hasty.samples().get(name, 0)
    with connections(hasty, 2) as (first, second):
        first.send(predict(GatedModel.HELD))
        assert not answered([first], 0.5)
        second.send(predict(GatedModel.HELD))
        answered([second], 10.5)
        with hasty.gated.open():
            reply = second.reply()
            assert (reply.status, json.loads(reply.body)["title"]) == (504, "Gateway Timeout")
            assert first.reply().status == 200
    assert hasty.samples()[name] - before == 1
