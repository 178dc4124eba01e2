"""Only a quick model computes in the event loop: while a slow one does, probes are answered and others refused."""

import asyncio
import base64
import gzip
import io
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.app import create_app
from serving.http.bridge import LOOP_BYTES, Bridge
from serving.model.models import Models
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.conftest import FakePredictor

BODY = json.dumps({"image": np.arange(784).reshape(28, 28).clip(0, 255).tolist()}).encode()


@dataclass
class TimedPredictor(FakePredictor):
    """Takes `seconds` for each image, then waits for its gate; it notes the threads that called it."""

    seconds: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    threads: list[int] = field(default_factory=list)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.threads.append(threading.get_ident())
        if self.seconds:
            time.sleep(self.seconds * len(images))
        self.gate.wait(300)
        return super().predict(images)


def worker(predictor: TimedPredictor, settings: Settings = Settings()) -> Bridge:  # noqa: B008  # it is frozen
    """The bridge of a worker that has just loaded `predictor`."""
    predictor.gate.set()
    served = Served()
    served.replace(predictor)
    predictor.threads.clear()
    models = Models(settings, served)
    return Bridge(create_app(models, settings), models, settings)


async def ask(
    bridge: Bridge,
    method: str,
    path: str,
    body: bytes = b"",
    kind: str = "application/json",
    coding: str = "",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> tuple[int, dict[bytes, bytes]]:
    """The status and the headers of the reply to one request."""
    headers = [(b"host", b"localhost"), (b"content-type", kind.encode()), *more]
    if coding:
        headers.append((b"content-encoding", coding.encode()))
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    scope |= {"server": ("localhost", 80), "client": ("127.0.0.1", 1), "scheme": "http", "http_version": "1.1"}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await bridge(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def hold(bridge: Bridge, predictor: TimedPredictor) -> asyncio.Task[Any]:
    """A prediction that the model computes until its gate opens."""
    predictor.gate.clear()
    prediction = asyncio.create_task(ask(bridge, "POST", "/predict", BODY))
    while not predictor.threads:
        await asyncio.sleep(0.001)
    return prediction


@pytest.mark.parametrize("batches", [False, True])
def test_probes_are_answered_while_a_slow_model_computes(card: Any, batches: bool) -> None:
    predictor = TimedPredictor(card, batches=batches, seconds=0.01)
    bridge = worker(predictor)

    async def main() -> None:
        prediction = await hold(bridge, predictor)
        for path in ("/healthz", "/readyz", "/v2/health/ready"):
            assert (await ask(bridge, "GET", path))[0] == 200
        assert not prediction.done()
        predictor.gate.set()
        assert (await prediction)[0] == 200

    asyncio.run(main())
    assert threading.get_ident() not in predictor.threads


@pytest.mark.parametrize("batches", [False, True])
def test_a_quick_model_answers_a_lone_request_in_the_event_loop(card: Any, batches: bool) -> None:
    predictor = TimedPredictor(card, batches=batches)
    bridge = worker(predictor)
    assert asyncio.run(ask(bridge, "POST", "/predict", BODY))[0] == 200
    assert predictor.threads == [threading.get_ident()]


def png(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.eye(side, dtype=np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "kind", "coding", "here"),
    [
        (png(28), "image/png", "", True),
        (bytes(range(7)) * 112, "application/octet-stream", "", True),
        (png(512), "image/png", "", False),
        (png(1024), "image/png", "", False),
        (b'{"image": "data:;base64,%s"}' % base64.b64encode(png(1024)), "application/json", "", False),
        (gzip.compress(BODY), "application/json", "gzip", False),
    ],
)
def test_only_what_is_quickly_read_is_read_in_the_event_loop(
    card: Any, body: bytes, kind: str, coding: str, here: bool
) -> None:
    predictor = TimedPredictor(card)
    bridge = worker(predictor)
    assert len(body) < LOOP_BYTES
    assert asyncio.run(ask(bridge, "POST", "/predict", body, kind, coding))[0] == 200
    assert (predictor.threads == [threading.get_ident()]) == here


@pytest.mark.parametrize("batches", [False, True])
def test_a_body_of_many_images_is_not_computed_in_the_event_loop(card: Any, batches: bool) -> None:
    predictor = TimedPredictor(card, batches=batches, seconds=0.0005)
    bridge = worker(predictor)
    for count in (1, 40):
        asyncio.run(ask(bridge, "POST", "/predict", bytes(range(7)) * 112 * count, "application/octet-stream"))
    assert [thread == threading.get_ident() for thread in predictor.threads] == [True, False]


def test_a_header_of_another_protocol_brings_no_picture_into_the_event_loop(card: Any) -> None:
    predictor = TimedPredictor(card)
    bridge = worker(predictor)
    header = ((b"inference-header-content-length", b"0"),)
    assert asyncio.run(ask(bridge, "POST", "/predict", png(1024), "image/png", more=header))[0] == 200
    assert threading.get_ident() not in predictor.threads


def test_a_small_request_does_not_wait_in_the_event_loop_for_a_large_one(card: Any) -> None:
    predictor = TimedPredictor(card)
    bridge = worker(predictor)

    async def main() -> None:
        predictor.gate.clear()
        large = asyncio.create_task(ask(bridge, "POST", "/predict", png(1024), "image/png"))
        while not predictor.threads:
            await asyncio.sleep(0.001)
        small = asyncio.create_task(ask(bridge, "POST", "/predict", BODY))
        await asyncio.sleep(0.01)
        assert (await ask(bridge, "GET", "/healthz"))[0] == 200
        predictor.gate.set()
        assert [(await each)[0] for each in (large, small)] == [200, 200]

    asyncio.run(main())


@pytest.mark.parametrize("status", [503, 429])
def test_a_request_beyond_the_queue_is_refused_with_the_chosen_status_and_may_come_again(
    card: Any, status: int
) -> None:
    predictor = TimedPredictor(card, seconds=0.01)
    bridge = worker(predictor, Settings(threads=1, max_queue=1, overload_status=status))

    async def main() -> None:
        prediction = await hold(bridge, predictor)
        waiting = asyncio.create_task(ask(bridge, "POST", "/predict", BODY))
        await asyncio.sleep(0.01)
        refused, headers = await ask(bridge, "POST", "/predict", BODY)
        assert (refused, headers[b"retry-after"]) == (status, b"1")
        predictor.gate.set()
        assert [(await each)[0] for each in (prediction, waiting)] == [200, 200]

    asyncio.run(main())
