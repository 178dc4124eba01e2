"""How gunicorn runs the service; `python -m serving` hands it over to it."""  # noqa: N999

import os
import resource
import sys
from contextlib import suppress
from typing import Any

from serving import metrics_directory
from serving.keys import Keys
from serving.model import first_start  # noqa: F401  # here, before the workers are forked, so that they share it
from serving.settings import Settings
from serving.worker import refuse_connections

_settings = Settings.from_environ(os.environ)
Keys(_settings)  # read here, for all workers

wsgi_app = "serving.wsgi:worker_app()"
bind = _settings.address
workers = _settings.workers
worker_class = "serving.worker.Worker"
threads = _settings.threads

# TensorFlow does not survive a fork, so each worker loads it after its own.
preload_app = False
# The worker's main loop beats, not its requests: a slow one is not killed by this, a hanging process is.
timeout = 30
graceful_timeout = _settings.graceful_timeout
# More would leave none of the process's descriptors for the model's files and the sockets of the server itself.
_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
worker_connections = 1000 if _descriptors == resource.RLIM_INFINITY else max(threads + 1, min(1000, _descriptors - 128))
# Longer than the 60 s of common load balancers, so that it is they who close an idle connection.
keepalive = 75
# The heartbeat's file: on a disk it could stall, and a read-only container has no other place.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Nobody may set SCRIPT_NAME by a header, which gunicorn otherwise lets clients on this machine do.
forwarded_allow_ips = ""
control_socket_disable = True  # one more socket in the file system that nobody here asks for


def on_starting(server: Any) -> None:
    """Refuse TLS; and stop accepting connections before the workers are told to end, for which gunicorn has no hook."""
    if server.cfg.is_ssl:
        print(
            "error: TLS must end at a proxy in front of the service. Received: --certfile or --keyfile for gunicorn.",
            file=sys.stderr,
        )
        sys.exit(2)
    stop = server.stop

    def refuse_and_stop(graceful: bool = True) -> None:
        # A kernel may refuse the filter to who is not root; then latecomers are let in, and may be reset.
        with suppress(OSError):
            refuse_connections(each.sock for each in server.LISTENERS)
        stop(graceful)

    server.stop = refuse_and_stop


def pre_exec(server: Any) -> None:
    """SIGUSR2 makes gunicorn start a second service on the same socket, which would share the metrics of this one.

    gunicorn calls this in the process that would become that service.
    """
    server.log.error("SIGUSR2 is ignored: to upgrade, start the new service and end this one with SIGTERM")
    os._exit(0)


def post_fork(server: Any, _worker: Any) -> None:
    """Reserve the space for a worker's metrics, before anything in it imports prometheus_client."""
    if not _settings.metrics_directory:
        return
    try:
        metrics_directory.reserve(_settings.metrics_directory, os.getpid())
    except OSError as error:
        server.log.error("this worker does not share its metrics: %s: %s", _settings.metrics_directory, error)
        for name in ("METRICS_DIRECTORY", "PROMETHEUS_MULTIPROC_DIR"):
            del os.environ[name]


def worker_exit(_server: Any, _worker: Any) -> None:
    """The last second's metrics, in the worker that ends."""
    from serving import tally

    tally.add_up()


def child_exit(_server: Any, worker: Any) -> None:
    """A dead worker's connections and gauges count no more."""
    worker.gone()
    if _settings.metrics_directory:
        metrics_directory.retire(_settings.metrics_directory, worker.pid)


def on_exit(_server: Any) -> None:
    """The workers' metrics end with the service."""
    if _settings.metrics_directory:
        metrics_directory.remove(_settings.metrics_directory)


logger_class = "serving.logs.ServerLogger"
_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"format": _FORMAT}, "json": {"()": "serving.logs.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": _settings.log_format}},  # to stderr
    "root": {"level": "WARNING", "handlers": ["console"]},
    "loggers": {
        "serving": {"level": "INFO"},
        # Workers that die or hang are reported; that they come and go as they should is not.
        "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
    },
}
