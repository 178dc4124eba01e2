"""How long clients may take: within a request by the kernel's timeouts, for the whole of it by the main loop's watch.

A pause ends the read or write that waits for it. But who drips, a byte a second, never pauses, and would keep a thread
for as long as it likes; so the worker stops listening to one whose request is not whole in time.
"""

import socket
import struct
import time
from contextlib import suppress
from typing import Any

PAUSE = 30.0  # seconds between two bytes of a request, or of a reply that the client does not take
# For what is answered aside, by few threads that all others wait for.
SHORT_PAUSE = 0.1
SHORT_WHOLE = 1.0


class Watch:
    """The connections of one worker with a request under way; all calls are of its main loop.

    Args:
        whole: seconds from a request's arrival in which it must have come to its end.
    """

    def __init__(self, whole: float) -> None:
        self._whole = whole
        self._under_way: set[Any] = set()

    def begin(self, conn: Any) -> None:
        """A request of `conn` arrived; `conn.aside` says whether it is answered aside."""
        bear_with(conn, SHORT_PAUSE if conn.aside else PAUSE)
        self._under_way.add(conn)

    def end(self, conn: Any) -> None:
        """The request is answered."""
        self._under_way.discard(conn)

    def enforce(self) -> None:
        """Stop listening to those that are late; what they have sent whole is still answered."""
        now = time.monotonic()
        for conn in self._under_way:
            if now - conn.arrived > (SHORT_WHOLE if conn.aside else self._whole):
                with suppress(OSError):  # it has gone already
                    conn.sock.shutdown(socket.SHUT_RD)


def bear_with(conn: Any, seconds: float) -> None:
    """Let a read from the connection, and a write to it, fail after so many seconds without a byte."""
    if getattr(conn, "pause", None) != seconds:
        conn.pause = seconds
        timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            conn.sock.setsockopt(socket.SOL_SOCKET, option, timeout)
