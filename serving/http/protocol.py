"""HTTP/1.1 by uvicorn's httptools protocol, with limits on the size and time of heads, trailers and pipelines.

uvicorn bounds no header or trailer (32 MiB of one got status 200) and no pipeline, keeps for ever a connection that is
silent or reads nothing, and at SIGTERM closes a connection whose first request is still on its way.
"""

import time
from asyncio import Transport
from collections.abc import Sized
from http import HTTPStatus
from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics
from serving.errors import problem
from serving.http.body import LINGER_SECONDS
from serving.observe import HEADERS, good_id

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 30.0  # from the connection, or the first byte of a later request, to the end of its head
FIRST_REQUEST_SECONDS = 1.0  # that a new connection has for its first request while the server shuts down
EVICTED_SHARE = 10  # a full worker closes one in ten of its silent connections, so that it searches rarely
PIPELINED = 128  # requests of one connection that may wait; a read of 256 KiB could hold 14,000

TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class PipelineFlow(FlowControl):
    """Flow control that reads nothing more from a client while requests of it wait for those before them."""

    def __init__(self, transport: Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self.pipeline = pipeline

    def resume_reading(self) -> None:
        if not self.pipeline:
            super().resume_reading()


class Parser(HttpRequestParser):
    """A parser that ignores Upgrade, as a server may: httptools would take the body for the other protocol's.

    Java's client proposes h2c in its first request to a server, and curl does with --http2.
    """

    def __init__(self, protocol: "Protocol") -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.protocol = protocol

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except HttpParserUpgrade as proposal:
            self.protocol.parse_again(data[proposal.args[0] :])


class Protocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        max_connections: how many a worker keeps open.
        head_began: when the head that is being read began, None between a whole head and the next.
        extra_bytes: bytes of that head, or of chunk headers and trailers since the last bytes of a body.
        closing: whether the connection will be closed; what still arrives is ignored.
        refusal: the status and the reason to send when the requests before it are answered.
    """

    max_connections = 1000

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = PipelineFlow(transport, self.pipeline)
        self.parser = Parser(self)
        self.head_began: float | None = time.monotonic()
        self.extra_bytes = 0
        self.closing = False
        self.refusal: tuple[HTTPStatus, str] | None = None
        self.unsent, self.unsent_since = 0, 0.0
        if len(self.connections) > self.max_connections:
            self._evict()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return  # the client may go on sending for a moment
        began = self.head_began
        super().data_received(data)
        if self.head_began is not None:
            # A read in which a later head begins may hold the end of a long body as well.
            self.extra_bytes += len(data) if self.head_began == began else 1
        elif self.cycle.response_complete:  # the body is not wanted, or the bytes are empty lines
            if self.timeout_keep_alive_task is None and not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        elif self.cycle.more_body:
            self.extra_bytes = 0 if self.cycle.body else self.extra_bytes + len(data)
        if self.extra_bytes > HEAD_BYTES:
            self.refuse(TOO_LARGE, f"more than {HEAD_BYTES} bytes of them")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_began is None:
            self.head_began, self.extra_bytes = time.monotonic(), 0

    def on_headers_complete(self) -> None:
        # Counted here as well, because one read from the socket may hold the whole of a large head.
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES:
            self.refuse(TOO_LARGE, f"{size} bytes")
        elif len(self.pipeline) >= PIPELINED:
            self.refuse(HTTPStatus.BAD_REQUEST, f"more than {PIPELINED} requests at a time")
        elif self.parser.get_method() == b"CONNECT":
            self.refuse(HTTPStatus.BAD_REQUEST, "CONNECT")
        if self.closing:
            raise ValueError  # which ends the parser's work
        if not self.parser.should_upgrade():
            self.head_began, self.extra_bytes = None, 0
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self.scope["received"] = time.monotonic()  # type: ignore[typeddict-unknown-key]  # for the bridge
            super().on_message_complete()

    def parse_again(self, rest: bytes) -> None:
        """Parse the last head without its header Upgrade, and then the `rest`."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = Parser(self)
        head = [method + b" " + self.url + b" HTTP/" + version, *lines, b"", rest]
        self.parser.feed_data(b"\r\n".join(head))

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused: a head, the chunks of a body, or what follows a whole request."""
        self.refuse(HTTPStatus.BAD_REQUEST, "something else")

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answer a client that has closed its own half: returns whether the connection stays open for that."""
        if self.closing:
            return self.refusal is not None
        if self.silent:
            return False
        if self.cycle.more_body:
            self.refuse(HTTPStatus.BAD_REQUEST, "a part of its body")
        else:
            self.cycle.keep_alive = False
        return True

    def on_response_complete(self) -> None:
        last = not self.pipeline  # of the next request in it, uvicorn begins the answer
        super().on_response_complete()
        if self.refusal and last and not self.transport.is_closing():
            self._send_refusal(*self.refusal)

    def refuse(self, status: HTTPStatus, came: str) -> None:
        """Answer what is no request with problem details, and close once the client has read them.

        The requests before it are answered first. The application sees the client of a request with half a body gone.
        """
        if self.closing:
            return
        self.closing = True
        in_body = not self.silent and self.head_began is None and self.cycle.more_body
        waits = in_body and bool(self.pipeline) and self.pipeline[0][0] is self.cycle
        if waits:
            self.pipeline.popleft()
        if waits or not (self.silent or in_body):
            self.refusal = status, came
        elif in_body and self.cycle.response_started:
            self.transport.close()
        else:
            if in_body:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._send_refusal(status, came, self.scope["path"] if in_body else "")

    def _send_refusal(self, status: HTTPStatus, came: str, path: str = "") -> None:
        self.refusal = None
        wanted = "The request must be well-formed HTTP/1.1, its line, headers and body within the limits"
        body, kind = problem(path, status, f"{wanted}. Received: {came}.")
        own = {"Content-Type": kind, "Content-Length": len(body), "X-Request-ID": good_id(""), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (own | HEADERS).items())
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body)
        metrics.REQUESTS.labels(protocol="other", code=status.value, model="", version="").inc()
        # At once, unread bytes would reset the connection.
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def enforce(self, now: float, client_seconds: float) -> None:
        """Close a connection whose head is overdue, or whose client reads nothing; called once a second."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self.unsent:
            self.unsent, self.unsent_since = unsent, now
        elif unsent and now - self.unsent_since > client_seconds:
            self.transport.abort()  # close() would wait for the client
        if self.head_began is None or self.closing:
            return
        if not self.silent:
            self.head_began = now  # while an answer is owed, nothing may be read
        elif now - self.head_began > HEAD_SECONDS:
            if self.extra_bytes:
                self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"incomplete headers after {HEAD_SECONDS:.0f} s")
            else:
                self.transport.close()

    def shutdown(self) -> None:
        """Wait for a connection's first request, or one that has begun; close the others as uvicorn does."""
        if self.silent and self.head_began is not None and not self.closing:
            self.loop.call_later(FIRST_REQUEST_SECONDS, self._close_silent)
        else:
            super().shutdown()

    def _close_silent(self) -> None:
        if self.silent:
            self.transport.close()

    @property
    def silent(self) -> bool:
        """Whether the server owes this connection no answer."""
        return self.cycle is None or self.cycle.response_complete

    def _evict(self) -> None:
        """Close silent connections to make room for others, such as probes: the unused first, the oldest first."""
        connections: set[Any] = self.connections
        silent = [each for each in connections if each.silent and each is not self]
        silent.sort(key=lambda each: (each.cycle is not None, each.head_began or 0.0))
        for each in silent[: max(1, len(silent) // EVICTED_SHARE)]:
            each.transport.close()
