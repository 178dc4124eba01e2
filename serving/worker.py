"""The gunicorn worker: gthread, with a bounded wait for its threads and an end that resets no connection.

Plain gthread leaves three gaps. A connection takes a thread before it has sent anything; its queue for threads has
no bound; and one that the kernel accepted after the worker stopped to look is reset when the worker exits.
"""

import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import sys
import time
from array import array
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from serving import arrival
from serving.parting import Parting
from serving.patience import Watch
from serving.problem import problem
from serving.settings import Settings

# For handshakes that are under way when the listener falls silent: more than a slow network needs for one.
LINGER = 0.5
YIELD = 0.001  # seconds; more than a worker takes to wake up
YIELDS = 5  # a worker that does not take its connections in that time is busy, or hangs
STAY = 5  # milliseconds that a thread waits for a connection's next request
SILENCE = 1.0  # seconds without a byte after which a connection may have to go for another
ASIDE_THREADS = 2  # that refuse, and answer probes
# What is read of a refused request before the answer, for others wait to be refused; the main loop hears the rest.
REFUSED_BODY = 0.02  # seconds for its body to be there
REFUSED_BYTES = 65536
# They ask whether the worker lives and is ready, not whether its threads are free.
PROBES = (b"GET /healthz", b"GET /readyz", b"GET /v2/health/")

# Another worker was faster, the client went away, or the process has no descriptor left until some connection ends.
NO_CONNECTION = {errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE}

# Classic BPF over the TCP header: drop what has the SYN flag (byte 13, bit 2), let everything else pass.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
_SO_ATTACH_FILTER = 26

# How many connections each worker has, in memory that all share; negative where no worker is.
_SLOTS = 64
_loads = memoryview(mmap.mmap(-1, 4 * _SLOTS)).cast("i")
_loads[:] = memoryview(array("i", [-1] * _SLOTS))


class Worker(ThreadWorker):
    """gthread that refuses what would wait too long, and at SIGTERM answers all who are connected already."""

    def __init__(self, age: int, *args: Any, **kwargs: Any) -> None:
        # Taken by the count that gunicorn's constructor begins with, which runs in the arbiter.
        self._slot = next((slot for slot, load in enumerate(_loads) if load < 0), age % _SLOTS)
        super().__init__(age, *args, **kwargs)
        # Who is being answered and who waits to be; beyond, requests are refused, not queued.
        self._settings = Settings.from_environ(os.environ)
        self._limit = self.cfg.threads + self._settings.max_queue
        self._taken = 0  # without those that are being refused, or they would keep everybody else out
        self._end: float | None = None
        # Those whose thread stays with them for a moment. One thread does not; it is there for whoever comes meanwhile.
        self._staying: set[TConn] = set()

    def init_process(self) -> None:
        # Not in the arbiter, which loads this file too: metrics belong to the process that imports them.
        from serving.tally import add_up_in_time

        util.write_error = write_problem  # in place of a page of HTML
        self._add_up_in_time = add_up_in_time
        arrival.waiting = lambda: self.tpool._work_queue.qsize()
        self._aside = ThreadPoolExecutor(ASIDE_THREADS)
        self._watch = Watch(self._settings.client_timeout)
        super().init_process()

    def run(self) -> None:
        self._parting = Parting(self.poller, self._settings.max_body_bytes, self._parted)
        super().run()

    def _parted(self) -> None:
        self.nr_conns -= 1

    @property
    def nr_conns(self) -> int:
        """gunicorn's own count of this worker's connections; the others see a copy."""
        return self._count

    @nr_conns.setter
    def nr_conns(self, count: int) -> None:
        self._count = _loads[self._slot] = count

    def gone(self) -> None:
        """Called in the arbiter when this worker has ended, by itself or not."""
        _loads[self._slot] = -1

    def _let_others_go_first(self) -> None:
        """Leave a new connection to a worker that has fewer; else one may take all of them, and the others idle."""
        for _ in range(YIELDS):
            if self.nr_conns <= 1 + min((load for load in _loads if load >= 0), default=0):
                return
            time.sleep(YIELD)

    def accept(self, listener: Any) -> None:
        """Take a connection, and give it a thread only when its first bytes are there."""
        self._let_others_go_first()
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in NO_CONNECTION:
                raise
            return
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.set_timeout()
        self.nr_conns += 1
        self.pending_conns.append(conn)
        self.poller.register(client, 1, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: TConn) -> None:
        conn.arrived = time.monotonic()
        conn.refused = self._taken - len(self._staying) >= self._limit
        # Those to be refused pass by all that wait, and so do probes, and connections that their clients have closed.
        conn.aside = conn.refused or _begins(conn.sock, PROBES)
        self._taken += not conn.aside
        self._watch.begin(conn)
        future = (self._aside if conn.aside else self.tpool).submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: TConn, future: Any) -> None:
        self._taken -= not conn.aside
        self._watch.end(conn)
        if future.exception() is None and future.result() is False:
            self._parting.add(conn)
        else:
            super().finish_request(conn, future)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer one request; a refused one whose body is long or late is the last of its connection."""
        if conn.refused and req._expected_100_continue:
            req._expected_100_continue = False  # or gunicorn would ask for the body first
            req.force_close()
        elif conn.refused and not conn.parser.finish_body(time.monotonic() + REFUSED_BODY, REFUSED_BYTES):
            req.force_close()
        return super().handle_request(req, conn)

    def handle(self, conn: TConn) -> Any:
        """Answer a connection's request, and those that follow at once.

        The way back through the main loop costs more than most answers, and a lone client would pay it each time.
        """
        while True:
            arrival.current.at, arrival.current.refused = conn.arrived, conn.refused
            arrival.current.begun, arrival.current.sending = time.monotonic(), 0.0
            if (kept := super().handle(conn)) is not True or not self._follows(conn):
                return kept
            conn.arrived = time.monotonic()

    def _follows(self, conn: TConn) -> bool:
        """Whether the connection's next request is there in a moment, while this thread is not needed elsewhere."""
        if conn.aside or self._end is not None or len(self._staying) >= self.cfg.threads - 1:
            return False
        self._staying.add(conn)
        try:
            return self.tpool._work_queue.empty() and _readable(conn.sock, STAY)
        finally:
            self._staying.discard(conn)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: not ready any more, but still accepting what the kernel has, or soon will have, accepted."""
        if self.alive and self._end is None:
            arrival.draining.set()
            self._end = time.monotonic() + LINGER
            self.method_queue.defer(lambda: None)

    def notify(self) -> None:
        """Called in each turn of the main loop; the place to add up metrics, and to end it when lingering is over."""
        super().notify()
        self._add_up_in_time()
        self._parting.end()
        self._watch.enforce()
        self._close_silent()
        if self._end is not None and time.monotonic() >= self._end:
            self.alive = False
            # Connections without a request would hold up the end for the whole grace period.
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, time.monotonic() + LINGER)

    def _close_silent(self) -> None:
        """Keep a place free for the next connection: close those that have been silent for longest.

        Not in `accept`, because an event of such a connection may wait in the same turn of the main loop.
        """
        since = time.monotonic() - SILENCE
        while self.nr_conns + len(self.sockets) >= self.worker_connections:
            silent = self.pending_conns or self.keepalived_conns
            if not silent or silent[0].timeout - self.cfg.keepalive > since:
                return
            conn = silent.popleft()
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(timeout if self._end is None else min(timeout, LINGER / 5))


def _begins(sock: socket.socket, words: tuple[bytes, ...]) -> bool:
    """Whether what the client has sent, and nobody has read yet, begins with one of the words, or is the end."""
    try:
        begin = sock.recv(max(map(len, words)), socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False  # the client has gone, which its thread will notice
    return not begin or begin.startswith(words)


def _readable(sock: socket.socket, milliseconds: int) -> bool:
    poll = select.poll()  # unlike select(), it takes any file descriptor
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(milliseconds))


def write_problem(sock: socket.socket, status: int, _reason: str, message: str) -> None:
    """Answer what gunicorn cannot read as a request with problem details; `sock` is closed afterwards."""
    from serving import tally  # which belongs to a worker's process, as what observe imports does
    from serving.observe import HEADERS, good_id

    detail = f"The request must be well-formed HTTP, with a line and headers within the limits. Received: {message}."
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = "The server failed here; its log says why."
    title, (body, kind) = HTTPStatus(status).phrase, problem("", HTTPStatus(status), detail)
    headers = {"Connection": "close", "Content-Type": kind, "Content-Length": len(body), "X-Request-ID": good_id("")}
    lines = [f"{name}: {value}\r\n" for name, value in (headers | HEADERS).items()]
    tally.reply(tally.Reply("other", status, "", time.monotonic() - arrival.moment(), None))
    util.write_nonblock(sock, f"HTTP/1.1 {status} {title}\r\n{''.join(lines)}\r\n".encode() + body)


def refuse_connections(listeners: Iterable[socket.socket]) -> None:
    """Let the kernel ignore new connections from now on, in every process that shares these `listeners`.

    Handshakes under way go on to their end. A client that comes later tries again for a second and then finds
    the port closed, instead of being let in and reset. Without Linux this does nothing.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    program = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(code))
    for listener in listeners:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
