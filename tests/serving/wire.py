"""A client on a plain socket: it decides which bytes are sent when, and sees how its connection ends."""

import http.client
import selectors
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

TIMEOUT = 120  # seconds; more than any answer takes, so that a hang fails


@dataclass
class Reply:
    """One HTTP reply, whole."""

    status: int
    headers: Message
    body: bytes


@dataclass
class Connection:
    """One connection to a server on loopback."""

    port: int
    sock: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self) -> Reply:
        """The next reply. Raises EOFError when the server has closed the connection, ConnectionError for a reset."""
        line = self._file.readline()
        if not line:
            raise EOFError("the server closed the connection")
        headers = http.client.parse_headers(self._file)
        length = int(headers["Content-Length"] or 0)
        body = self._file.read(length)
        assert len(body) == length, "the reply was cut off"
        return Reply(int(line.split()[1]), headers, body)

    def ask(self, data: bytes) -> Reply:
        self.send(data)
        return self.reply()

    def is_closed(self) -> bool:
        """Whether the server closes the connection, and sends nothing before. It waits for either."""
        return self._file.read(1) == b""


@contextmanager
def connections(server: Any, count: int) -> Iterator[list[Connection]]:
    """So many open connections to `server`."""
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append(Connection(server.port))
        yield opened
    finally:
        for each in opened:
            each.__exit__()


def get(path: str, **headers: str) -> bytes:
    return _request("GET", path, b"", headers)


def predict(body: bytes = bytes(784), path: str = "/predict", **headers: str) -> bytes:
    """A whole request with images as raw pixels, one black image unless told otherwise."""
    return _request("POST", path, body, {"Content_Type": "application/octet-stream"} | headers)


def head(path: str, length: int, **headers: str) -> bytes:
    """The head of a POST whose body would have so many bytes."""
    return _request("POST", path, b"", {"Content_Length": str(length)} | headers)


def _request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    if body:
        headers = headers | {"Content_Length": str(len(body))}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode() + body


def in_order_of_arrival(waiting: Iterable[Connection]) -> Iterator[tuple[Connection, Reply]]:
    """The next reply of each connection, the first that comes first."""
    with selectors.DefaultSelector() as selector:
        for each in waiting:
            selector.register(each.sock, selectors.EVENT_READ, each)
        while selector.get_map():
            ready = selector.select(TIMEOUT)
            assert ready, f"{len(selector.get_map())} requests have no answer"
            for key, _ in ready:
                selector.unregister(key.fileobj)
                yield key.data, key.data.reply()


def answered(asked: Iterable[Connection], seconds: float = 0) -> bool:
    """Whether one of them is sent something, or closed, within so many seconds."""
    with selectors.DefaultSelector() as selector:
        for each in asked:
            selector.register(each.sock, selectors.EVENT_READ)
        return bool(selector.select(seconds))
