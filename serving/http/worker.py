"""The gunicorn worker: uvicorn's, which at SIGTERM goes on answering for DRAIN_SECONDS before it closes the door."""

import asyncio
import logging
import signal
import time
from socket import socket
from types import FrameType
from typing import Any

from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

from serving.http.protocol import Protocol


class DrainingServer(Server):
    """uvicorn's server over a bridge, which it tells of the end before it stops accepting connections."""

    def __init__(self, config: Config, bridge: Any) -> None:
        super().__init__(config)
        self.bridge = bridge
        self.exit_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM drains; SIGINT and SIGQUIT end at once."""
        if sig != signal.SIGTERM:
            self.should_exit = self.force_exit = True
        elif self.exit_at is None:
            self.bridge.drain()
            self.exit_at = time.monotonic() + self.bridge.settings.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        now = time.monotonic()
        if self.exit_at is not None and now >= self.exit_at:
            self.should_exit = True
        if counter % 10 == 0:
            self.bridge.tick()
            for connection in [*self.server_state.connections]:
                connection.enforce(now, self.bridge.settings.client_timeout)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Take what the kernel has accepted already, or closing the listener would reset it."""
        accepted = [connection for each in sockets or [] for connection in _backlog(each)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, {})


def _backlog(listener: socket) -> list[socket]:
    """The connections that wait to be accepted; the listener does not block."""
    accepted: list[socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # none is left, or another worker was faster
            return accepted
        connection.setblocking(False)
        accepted.append(connection)


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
        # What clients do wrong they are told, not the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        Protocol.max_connections = self.cfg.worker_connections
        super().init_process()

    def run(self) -> None:
        """Serve until a signal ends it."""
        self.config.app = self.wsgi
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._serve_until_told())

    async def _serve_until_told(self) -> None:
        server = DrainingServer(self.config, self.wsgi)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        await server.serve(sockets=self.sockets)
