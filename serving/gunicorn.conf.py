"""How gunicorn runs the service; `python -m serving` hands it over to it."""  # noqa: N999

import os
import resource
import sys
from typing import Any

from serving import metrics
from serving.keys import Keys
from serving.model import first_start  # noqa: F401  # here, before the workers are forked, so that they share it
from serving.settings import Settings

CONNECTIONS = 2000  # of one worker, some 10 KiB each
RESERVED = 128  # descriptors

_settings = Settings.from_environ(os.environ)
Keys(_settings)  # read here, for all workers

wsgi_app = "serving.asgi:worker_app()"
workers = _settings.workers
worker_class = "serving.http.worker.Worker"

# The worker's main loop beats, not its requests: a slow one is not killed by this, a hanging process is.
timeout = 30
graceful_timeout = _settings.graceful_timeout
# As many as the process may have descriptors for, beside the model's files and the sockets of the server itself.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _soft < CONNECTIONS + RESERVED:
    _soft = CONNECTIONS + RESERVED if _hard == resource.RLIM_INFINITY else min(_hard, CONNECTIONS + RESERVED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_soft, _hard))
worker_connections = max(_settings.threads + 1, min(CONNECTIONS, _soft - RESERVED))
# Longer than the 60 s of common load balancers, so that it is they who close an idle connection.
keepalive = 75
# The heartbeat's file: on a disk it could stall, and a read-only container has no other place.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True  # one more socket in the file system that nobody here asks for


def on_starting(server: Any) -> None:
    """Refuse TLS and --preload.

    uvicorn counts a connection only after its handshake, so clients that send nothing could take all descriptors.
    A model that is loaded before the workers are forked would stay in gunicorn's master process.
    """
    error = ""
    if server.cfg.is_ssl:
        error = "TLS must end at a proxy in front of the service. Received: --certfile or --keyfile for gunicorn."
    elif server.cfg.preload_app:
        error = "Each worker must load the model itself. Received: --preload for gunicorn."
    if error:
        sys.stderr.write(f"error: {error}\n")  # at once: with --preload, other threads write too
        sys.exit(2)


def pre_exec(server: Any) -> None:
    """SIGUSR2 makes gunicorn start a second service on the same socket, which would share the metrics of this one.

    gunicorn calls this in the process that would become that service.
    """
    server.log.error("SIGUSR2 is ignored: to upgrade, start the new service and end this one with SIGTERM")
    os._exit(0)


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that has ended."""
    if _settings.metrics_directory:
        metrics.retire(_settings.metrics_directory, worker.pid)


def on_exit(_server: Any) -> None:
    """The workers' metrics end with the service."""
    if _settings.metrics_directory:
        metrics.remove(_settings.metrics_directory)


_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "serving.logs.TextFormatter", "fmt": _FORMAT},
        "json": {"()": "serving.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": _settings.log_format}},  # to stderr
    "root": {"level": "WARNING", "handlers": ["console"]},
    "loggers": {
        "serving": {"level": "INFO"},
        # Workers that die or hang are reported; that they come and go as they should is not. uvicorn's worker hands the
        # handlers on to uvicorn's own logger.
        "gunicorn.error": {"level": "WARNING", "handlers": ["console"], "propagate": False},
    },
}
