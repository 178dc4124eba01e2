"""The gunicorn worker: uvicorn's, which after SIGTERM accepts connections for DRAIN_SECONDS more."""

import asyncio
import logging
import os
import signal
import time
from socket import socket
from types import FrameType
from typing import Any

from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

from serving.http.protocol import Protocol

TURN = 4  # connections that one of several workers accepts before it pauses for the others
TURN_SECONDS = 0.001
ACCEPT_AGAIN_SECONDS = 0.1  # until a worker without a free descriptor tries again


class DrainingServer(Server):
    """uvicorn's server for a bridge, which drains: it reports not ready before it stops accepting connections."""

    def __init__(self, config: Config, bridge: Any, parent: int) -> None:
        super().__init__(config)
        self.bridge = bridge
        self.parent = parent  # gunicorn's process
        self.sigterm_at: float | None = None
        self.listeners: list[socket] = []
        self.arriving: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Accept connections a few at a time: uvloop would accept all that wait, and leave the other workers idle."""
        self.servers = []
        self.listeners = sockets or []
        self._listen()
        self.started = True

    def _listen(self) -> None:
        for each in self.listeners:
            asyncio.get_running_loop().add_reader(each, self._accept_some, each)

    def _accept_some(self, listener: socket) -> None:
        """Accept connections that wait: more at a time where there are many, or the last would wait for seconds."""
        for _ in range(max(TURN, len(self.server_state.connections) // 2)):
            if not self._accept(listener):
                return
        if self.bridge.settings.workers > 1:
            self._pause(TURN_SECONDS)

    def _accept(self, listener: socket) -> bool:
        """Accept a connection; returns whether one waited."""
        loop = asyncio.get_running_loop()
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return False  # another worker was faster, or the client is gone
        except OSError:  # no descriptor is free
            self._pause(ACCEPT_AGAIN_SECONDS)
            return False
        connection.setblocking(False)
        task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self.arriving.add(task)
        task.add_done_callback(self.arriving.discard)
        return True

    def _pause(self, seconds: float) -> None:
        """Accept no connection for a while, in which others may."""
        loop = asyncio.get_running_loop()
        for each in self.listeners:
            loop.remove_reader(each)
        loop.call_later(seconds, self._listen)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM drains; SIGINT and SIGQUIT end at once."""
        if sig != signal.SIGTERM:
            self.should_exit = self.force_exit = True
        elif self.sigterm_at is None:
            self.bridge.models.draining = True
            self.sigterm_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; what `shutdown` needs as well, at each tenth time."""
        now, settings = time.monotonic(), self.bridge.settings
        waited = 0.0 if self.sigterm_at is None else now - self.sigterm_at
        if self.sigterm_at is not None and waited >= settings.drain_seconds:
            self.should_exit = True
        if counter % 10 == 0:
            self.bridge.tick()
            if os.getppid() != self.parent:  # it was killed, and a new service would find the port taken
                self.handle_exit(signal.SIGTERM, None)
            for connection in [*self.server_state.connections]:
                if waited >= settings.graceful_timeout:
                    connection.transport.abort()
                else:
                    connection.enforce(now, settings.client_timeout)  # type: ignore[union-attr]
        if await super().on_tick(counter) and not self.should_exit:
            # The worker has answered gunicorn's --max-requests; ended at once, it would lose the requests on their way.
            self.handle_exit(signal.SIGTERM, None)
        return self.should_exit

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept what the kernel has queued, since closing the listener would reset it; then end as uvicorn does."""
        listeners, self.listeners = self.listeners, []
        for each in listeners:
            asyncio.get_running_loop().remove_reader(each)
            while self._accept(each):
                pass
            each.close()
        await asyncio.gather(*self.arriving)
        # uvicorn itself would not notify gunicorn any more, which would kill the worker after its own timeout.
        ending = asyncio.create_task(super().shutdown(sockets))
        while not ending.done():
            await self.on_tick(0)
            await asyncio.wait([ending], timeout=1)
        await ending

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, {})


class Worker(UvicornWorker):
    """One process of the service; its application is a `serving.http.bridge.Bridge`."""

    CONFIG_KWARGS = {  # noqa: RUF012  # as uvicorn's worker declares it
        "loop": "uvloop",
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,  # `observe.py` has ours
        "server_header": False,
        "proxy_headers": False,
    }

    def init_process(self) -> None:
        # A client's mistake is reported to the client, not in the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        Protocol.max_connections = self.cfg.worker_connections
        super().init_process()

    def run(self) -> None:
        """Serve until a signal ends it."""
        self.config.app = self.wsgi
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._serve_until_signal())

    async def _serve_until_signal(self) -> None:
        server = DrainingServer(self.config, self.wsgi, self.ppid)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        await server.serve(sockets=self.sockets)
