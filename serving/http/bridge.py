"""The bridge from ASGI to the Flask application: it reads, bounds, admits or refuses a request, and then calls Flask.

A body is read in the event loop, so that no slow client holds a thread. A small request is answered in the event loop
itself where that delays nobody, every other one by a bounded pool of threads.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from http import HTTPStatus
from time import monotonic
from typing import Any

from flask import Flask

from decoding.decode import memory_of
from decoding.errors import ImageFileError
from decoding.heads import head
from serving import cors
from serving.errors import (
    DeadlineError,
    ForbiddenError,
    MalformedRequestError,
    OverloadedError,
    ServiceError,
    problem,
)
from serving.http.body import Bodies, ClientGoneError, Receive, linger, overloaded
from serving.http.environ import Environ, wsgi_environ
from serving.images.memory import COUNTED
from serving.images.photographs import EXAMINED
from serving.keys import Keys
from serving.metrics import QUEUE, READY, share
from serving.model.models import Models
from serving.model.served import LONE_SECONDS, QUICK_SECONDS, Served
from serving.observe import ENVIRON_KEY, HEADERS, Exchange
from serving.settings import Settings

Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[int, dict[bytes, bytes], bytes]  # status, headers and body

# Answered in the event loop, even while all threads are busy.
PROBES = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
PAGE_THREADS = 2  # for pages, descriptions and metrics, which read files
# What the event loop reads; larger bodies would delay the others. A JSON image of 28 x 28 has 3 KiB, a PNG of it less
# than 1, and a picture of 30 KB may have so many chunks that they take 20 ms.
LOOP_BYTES = 32 * 1024
PICTURE_BYTES = 4 * 1024
UNREDUCED = 2**16  # pixels of a side to which no JPEG file is reduced in decoding
_HEADERS = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}

logger = logging.getLogger(__name__)


class Bridge:
    """The ASGI application of one worker.

    Args:
        app: the Flask application.
        models: what is served, and whether each model is fast enough for the event loop.
        settings: its limits.
    """

    def __init__(self, app: Flask, models: Models, settings: Settings) -> None:
        self.app = app
        self.models = models
        self.settings = settings
        self._keys = Keys(settings)
        self._origins = settings.origins
        self._pool = ThreadPoolExecutor(settings.threads, "predict")
        self._pages = ThreadPoolExecutor(PAGE_THREADS, "page")
        self._admitted = 0  # predictions that have a thread, or wait for one
        self._large = Counter[Served]()  # those of them by model that are too large for the event loop
        self._present = 0  # predictions whose body is whole
        self._bodies = Bodies(settings)
        self._sharing_error = ""

    def tick(self) -> None:
        """Publish the metrics; called once a second."""
        QUEUE.set(max(0, self._admitted - 1))
        READY.set(self.models.default.served.ready)
        if self.settings.metrics_directory:
            error = share(self.settings.metrics_directory)
            if error and error != self._sharing_error:
                logger.error("this worker does not share its metrics: %s", error)
            self._sharing_error = error

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        environ = wsgi_environ(scope)
        exchange = Exchange.begin(scope["method"], scope["path"], environ.get("HTTP_X_REQUEST_ID", ""))
        environ[ENVIRON_KEY] = exchange
        draining = self.models.draining
        try:
            self._check(environ)
            if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
                self._bodies.check_length(environ)
                if self._full and exchange.method == "POST":
                    raise overloaded()
                await self._bodies.read(environ, receive, whole="received" in scope)
            exchange.started = monotonic()
            # By the protocol, since the event loop may have come to this request only now.
            exchange.received = scope.get("received", exchange.started)
            exchange.deadline = exchange.received + self.settings.deadline_ms / 1000
            # Asked once before the answer, so that no probe is told "ready" on a connection that ends.
            draining = self.models.draining
            status, headers, content = await self._answer(environ, exchange)
        except ServiceError as error:
            status, headers, content = self._refusal(error, exchange)
        except ClientGoneError:
            return
        exchange.end(status, bool(self.settings.access_log))
        headers[b"x-request-id"] = exchange.identity.encode()
        if self._origins:
            headers |= cors.headers(self._origins, environ)
        slow = status == HTTPStatus.REQUEST_TIMEOUT
        abandoned = not exchange.received and (slow or not self._bodies.may_skip(environ))
        if abandoned or draining:
            headers[b"connection"] = b"close"
        await send({"type": "http.response.start", "status": status, "headers": [*headers.items()]})
        await send({"type": "http.response.body", "body": content, "more_body": abandoned})
        if abandoned:
            await linger(receive)
            await send({"type": "http.response.body", "body": b""})

    def _check(self, environ: Environ) -> None:
        """Refuse before anything of the body is read: a request that names no host, a prediction without a key."""
        # RFC 9112, section 3.2 demands this answer.
        host = environ.get("HTTP_HOST")
        if host is None and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise MalformedRequestError("A request of HTTP/1.1 must have the header Host. Received: none.")
        if host and "," in host:
            raise MalformedRequestError(f"A request must have one header Host. Received: {host:.80}.")
        if self._keys.needed and environ["REQUEST_METHOD"] == "POST":
            kind, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            key = bearer.strip() if kind.lower() == "bearer" else environ.get("HTTP_X_API_KEY", "")
            if not self._keys.accept(key):
                came = "one that is not accepted" if key else "none"
                raise ForbiddenError(
                    f"A key must come as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Received: {came}."
                )

    async def _answer(self, environ: Environ, exchange: Exchange) -> Reply:
        loop = asyncio.get_running_loop()
        if exchange.method != "POST":
            if self._origins and cors.is_preflight(environ):
                return HTTPStatus.NO_CONTENT.value, {}, b""
            if exchange.path in PROBES or exchange.path.endswith("/ready"):
                return self._call(environ)
            return await loop.run_in_executor(self._pages, copy_context().run, self._call, environ)
        served = self.models.asked_by(exchange.path, environ["QUERY_STRING"])
        seconds = served.seconds(_images(environ, exchange.path, served.image_bytes))
        small = seconds < (LONE_SECONDS if served.batches else QUICK_SECONDS)
        self._present += 1
        try:
            if small and await self._delays_nobody(served):
                return self._call(environ)
            if self._full:
                raise overloaded()
            self._admitted += 1
            self._large[served] += not small
            try:
                return await loop.run_in_executor(self._pool, copy_context().run, self._call_in_time, environ)
            finally:
                self._admitted -= 1
                self._large[served] -= not small
        finally:
            self._present -= 1

    @property
    def _full(self) -> bool:
        return self._admitted >= self.settings.threads + self.settings.max_queue

    async def _delays_nobody(self, served: Served) -> bool:
        """Whether a small prediction may run in the event loop: it need not wait there, and a batch gains nothing."""
        if not served.batches:
            return not self._large[served]
        await asyncio.sleep(0)  # others that have arrived by now are counted
        return self._present == 1

    def _call_in_time(self, environ: Environ) -> Reply:
        exchange: Exchange = environ[ENVIRON_KEY]
        exchange.started = monotonic()
        if exchange.started > exchange.deadline:
            raise DeadlineError("The request waited longer than it may before a thread was free. Try again.")
        return self._call(environ)

    def _call(self, environ: Environ) -> Reply:
        """The Flask application's reply."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: Any = None, /) -> Callable[[bytes], Any]:
            started[:] = status, headers
            return started.append  # nothing here writes so

        iterable = self.app.wsgi_app(environ, start_response)
        try:
            content = b"".join(iterable)
        finally:
            if hasattr(iterable, "close"):
                iterable.close()
        status, headers = started
        named = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in headers}
        return int(status[:3]), _HEADERS | named, content

    def _refusal(self, error: ServiceError, exchange: Exchange) -> Reply:
        """The reply to a request that does not come as far as Flask."""
        exchange.rejected = error.rejected
        status = error.status
        if isinstance(error, OverloadedError):
            status = HTTPStatus(self.settings.overload_status)
        content, kind = problem(exchange.path, status, str(error))
        own = {"Content-Type": kind, "Content-Length": str(len(content))} | error.headers
        return status.value, _HEADERS | {name.lower().encode(): value.encode() for name, value in own.items()}, content


def _images(environ: Environ, path: str, image_bytes: int) -> float:
    """About how many images a body holds; infinite where it may take long to read."""
    kind = environ.get("CONTENT_TYPE", "")
    length = int(environ.get("CONTENT_LENGTH", 0))
    if length > LOOP_BYTES or "HTTP_CONTENT_ENCODING" in environ:
        return math.inf
    binary = path.startswith("/v2/") and "HTTP_INFERENCE_HEADER_CONTENT_LENGTH" in environ
    if binary or (path == "/predict" and kind == "application/octet-stream"):
        return max(1.0, length / image_bytes)
    content: bytes = environ["wsgi.input"].getvalue()
    if path.startswith(("/v1/", "/v2/")) or kind.startswith("application/json"):
        # Picture files in JSON are base64, called so or in a data URL, unless escapes hide that.
        if content.count(b'"') > 2 and (b"\\" in content or b"b64" in content or b"data:" in content.lower()):
            return math.inf
        return max(1, round(content.count(b",") / image_bytes))
    if kind.startswith("image/") and length <= PICTURE_BYTES:
        with suppress(ImageFileError):
            if memory_of(head(content, UNREDUCED), UNREDUCED, EXAMINED) < COUNTED:
                return 1
    return math.inf
