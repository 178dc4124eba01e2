"""HTTP/1.1 by uvicorn's httptools protocol, which gains limits for a request's head: its bytes, and its time.

uvicorn bounds no header (32 MiB of one got status 200), keeps a silent connection for ever, and at SIGTERM closes a
connection whose first request is still on its way.
"""

import time
from asyncio import Transport
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics
from serving.errors import problem
from serving.observe import HEADERS, good_id

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 30.0  # from the connection, or the first byte of a later request, to the end of its head
LINGER_SECONDS = 2.0  # that a client has to read an answer before the connection is closed
FIRST_REQUEST_SECONDS = 1.0  # that a new connection has for its first request while the server shuts down
EVICTED_SHARE = 10  # a full worker closes one in so many of its silent connections, so that it looks rarely


class Protocol(HttpToolsProtocol):
    """One connection. `config.limit_connections` is how many a worker keeps open."""

    max_connections = 1000

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_began: float | None = time.monotonic()
        self.head_bytes = 0
        self.lingering = False
        if len(self.connections) > self.max_connections:
            self._evict()

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            return  # the client has its answer, and may go on sending for a moment
        super().data_received(data)
        if self.head_began is not None:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {self.head_bytes} bytes of head")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_began is None:
            self.head_began, self.head_bytes = time.monotonic(), 0

    def on_headers_complete(self) -> None:
        # Counted here as well, because one read from the socket may hold the whole of a large head.
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"{size} bytes")
            raise ValueError  # which ends the parser's work
        self.head_began = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused: a head, the chunks of a body, or what follows a whole request."""
        if self.lingering:
            return
        if self.silent or self.cycle.more_body:
            self._give_up_request(HTTPStatus.BAD_REQUEST, "something else")
        else:
            self.cycle.keep_alive = False  # the request before it is answered first

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answer a client that has closed its own half: returns whether the connection stays open for that."""
        if self.silent or self.lingering:
            return False
        if self.cycle.more_body:
            self._give_up_request(HTTPStatus.BAD_REQUEST, "a part of its body")
        self.cycle.keep_alive = False
        return True

    def _give_up_request(self, status: HTTPStatus, came: str) -> None:
        """Answer in the application's place, which sees its client gone; if it has begun to answer, close."""
        if self.silent:
            self.refuse(status, came)
        elif self.cycle.response_started:
            self.transport.close()
        else:
            self.refuse(status, came)
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def refuse(self, status: HTTPStatus, came: str) -> None:
        """Answer what is no request with problem details, and close once the client has read them."""
        wanted = "The request must be well-formed HTTP/1.1, its line and headers within the limits"
        body, kind = problem("" if self.silent else self.scope["path"], status, f"{wanted}. Received: {came}.")
        own = {"Content-Type": kind, "Content-Length": len(body), "X-Request-ID": good_id(""), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (own | HEADERS).items())
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body)
        metrics.REQUESTS.labels("other", status.value, "").inc()
        self.linger()

    def linger(self) -> None:
        """Close when the client does, or after LINGER_SECONDS: at once, unread bytes would reset the connection."""
        self.lingering = True
        self.head_began = None
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def enforce(self, now: float) -> None:
        """Close a connection whose head is overdue; the server calls this once a second."""
        if self.head_began is None or now - self.head_began <= HEAD_SECONDS:
            return
        if self.head_bytes:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"a part of a head in {HEAD_SECONDS:.0f} s")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Let a connection that was just made send its first request; the others end as uvicorn ends them."""
        if self.cycle is None and not self.lingering:
            self.loop.call_later(FIRST_REQUEST_SECONDS, self._close_without_request)
        else:
            super().shutdown()

    def _close_without_request(self) -> None:
        if self.cycle is None:
            self.transport.close()

    @property
    def silent(self) -> bool:
        """Whether the server owes this connection no answer."""
        return self.cycle is None or self.cycle.response_complete

    def _evict(self) -> None:
        """Close the connections that have been silent for longest, so that others, probes above all, find room."""
        connections: set[Any] = self.connections
        silent = [each for each in connections if each.silent and each is not self]
        silent.sort(key=lambda each: each.head_began or 0.0)
        for each in silent[: max(1, len(silent) // EVICTED_SHARE)]:
            each.transport.close()
