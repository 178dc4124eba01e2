"""The last answer of a connection arrives, whatever the client still sends, and nobody else waits for that client."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from serving import parting
from serving.parting import Parting

TIMEOUT = 60
LONG = 2**23  # bytes; more than gunicorn reads of a body that nobody wanted, and than the kernel keeps


def connected(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=TIMEOUT)


@pytest.mark.parametrize("length", [LONG, LONG + 1])
def test_who_is_turned_away_with_a_long_body_hears_why(
    models: Path, start: Callable[..., AbstractContextManager[Any]], length: int
) -> None:
    with start(models, API_KEYS="0" * 64) as server, connected(server) as client:
        server.wait_until_ready()
        client.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + bytes(LONG))
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["status"] == 401


@pytest.fixture
def poller() -> Iterator[DefaultSelector]:
    with DefaultSelector() as made:
        yield made


@pytest.fixture
def ends() -> Iterator[tuple[SimpleNamespace, socket.socket]]:
    """A connection of the worker, and the client's end of it."""
    ours, client = socket.socketpair()
    with ours, client:
        yield SimpleNamespace(sock=ours, close=ours.close), client


def turn(poller: DefaultSelector) -> None:
    for key, _ in poller.select(0):
        key.data(key.fileobj)


def test_a_connection_is_closed_when_the_client_has_closed_its_end(poller: DefaultSelector, ends: Any) -> None:
    conn, client = ends
    parted: list[str] = []
    leaving = Parting(poller, LONG, lambda: parted.append("parted"))
    leaving.add(conn)
    assert client.recv(1) == b""  # it hears that no more will come
    client.sendall(b"the rest of a body")
    turn(poller)
    leaving.end()
    assert parted == []
    client.close()
    turn(poller)
    assert parted == ["parted"]
    assert conn.sock.fileno() == -1


@pytest.mark.parametrize(("patience", "most"), [(0.0, LONG), (60.0, 10)])
def test_a_client_is_not_heard_out_for_ever(
    poller: DefaultSelector, ends: Any, monkeypatch: pytest.MonkeyPatch, patience: float, most: int
) -> None:
    conn, client = ends
    monkeypatch.setattr(parting, "PATIENCE", patience)
    parted: list[str] = []
    leaving = Parting(poller, most, lambda: parted.append("parted"))
    leaving.add(conn)
    client.sendall(b"more than ten bytes")
    turn(poller)
    leaving.end()
    assert parted == ["parted"]
    assert not list(poller.get_map())


def test_a_client_that_has_gone_is_not_waited_for(poller: DefaultSelector, ends: Any) -> None:
    conn, _ = ends
    conn.sock.close()
    parted: list[str] = []
    Parting(poller, LONG, lambda: parted.append("parted")).add(conn)
    assert parted == ["parted"]
