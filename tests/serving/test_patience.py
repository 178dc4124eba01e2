"""A client that pauses, or takes too long, loses its thread; one that is merely slow to be answered does not."""

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from serving.patience import SHORT_PAUSE, Watch, bear_with


class Connection(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def pair() -> Iterator[tuple[Any, socket.socket]]:
    """The server's connection, and its client."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(None)
        yield Connection(sock=ours, arrived=time.monotonic(), aside=False), theirs


def test_a_read_from_a_client_that_pauses_ends(pair: tuple[Any, socket.socket]) -> None:
    conn, _ = pair
    bear_with(conn, SHORT_PAUSE)
    with pytest.raises(BlockingIOError):
        conn.sock.recv(1)


def test_a_write_to_a_client_that_does_not_read_ends(pair: tuple[Any, socket.socket]) -> None:
    conn, _ = pair
    bear_with(conn, SHORT_PAUSE)
    with pytest.raises(BlockingIOError):
        conn.sock.sendall(bytes(2**24))


@pytest.mark.parametrize(("aside", "seconds", "heard"), [(False, 50, True), (False, 70, False), (True, 2, False)])
def test_a_client_is_heard_until_its_time_is_up_and_answered_still(
    pair: tuple[Any, socket.socket], aside: bool, seconds: float, heard: bool
) -> None:
    conn, client = pair
    conn.aside = aside
    watch = Watch(60)
    watch.begin(conn)
    conn.arrived -= seconds
    watch.enforce()
    if heard:
        client.sendall(b"more")
        assert conn.sock.recv(4) == b"more"
    else:
        assert conn.sock.recv(4) == b""
    conn.sock.sendall(b"answer")
    assert client.recv(6) == b"answer"


def test_a_request_that_is_answered_is_watched_no_longer(pair: tuple[Any, socket.socket]) -> None:
    conn, client = pair
    watch = Watch(60)
    watch.begin(conn)
    watch.end(conn)
    conn.arrived -= 1000
    watch.enforce()
    client.sendall(b"next")
    assert conn.sock.recv(4) == b"next"
