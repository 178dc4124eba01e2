"""How a connection ends: the client is heard out, and nobody else waits meanwhile (RFC 9112, section 9.6).

A connection that is closed while the client still sends is reset by the kernel, and the answer in it may be lost.
gunicorn reads on too, but in the worker's main loop, up to two seconds for each such client.
"""

import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ, BaseSelector
from typing import Any

PATIENCE = 2.0  # seconds that a client has to close its end
CHUNK = 65536


class Parting:
    """The connections of one worker that were answered for the last time; all calls are of its main loop.

    Args:
        poller: the main loop's.
        most: bytes that a client may still send.
        parted: called once for each connection that is closed.
    """

    def __init__(self, poller: BaseSelector, most: int, parted: Callable[[], None]) -> None:
        self._poller = poller
        self._most = most
        self._parted = parted
        self._leaving: deque[Any] = deque()  # in the order of their ends

    def add(self, conn: Any) -> None:
        """Say that no more will come, and close when the client has understood."""
        conn.timeout = time.monotonic() + PATIENCE
        conn.heard = 0
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self._poller.register(conn.sock, EVENT_READ, partial(self._hear, conn))
        except (OSError, ValueError, KeyError):  # the client has gone already, or the kernel hears no more of them
            conn.close()
            self._parted()
        else:
            self._leaving.append(conn)

    def _hear(self, conn: Any, sock: socket.socket) -> None:
        try:
            said = len(sock.recv(CHUNK))
        except BlockingIOError:
            return
        except OSError:
            said = 0
        conn.heard += said
        if not said or conn.heard > self._most:
            self._close(conn)

    def end(self) -> None:
        """Close those whose time is up."""
        now = time.monotonic()
        while self._leaving and self._leaving[0].timeout <= now:
            self._close(self._leaving[0])

    def _close(self, conn: Any) -> None:
        self._leaving.remove(conn)
        self._poller.unregister(conn.sock)
        conn.close()
        self._parted()
