"""How gunicorn runs the service; `python -m serving` hands it over to it."""  # noqa: N999

import os

from serving.settings import Settings

_settings = Settings.from_environ(os.environ)

wsgi_app = "serving.wsgi:worker_app()"
bind = _settings.address
workers = _settings.workers
worker_class = "gthread"
threads = _settings.threads

# TensorFlow does not survive a fork, so each worker loads it after its own.
preload_app = False
# The worker's main loop beats, not its requests: a slow one is not killed by this, a hanging process is.
timeout = 30
graceful_timeout = _settings.graceful_timeout
# Longer than the 60 s of common load balancers, so that it is they who close an idle connection.
keepalive = 75
# The heartbeat's file: on a disk it could stall, and a read-only container has no other place.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True  # one more socket in the file system that nobody here asks for

_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": _FORMAT}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},  # to stderr
    "root": {"level": "WARNING", "handlers": ["console"]},
    "loggers": {
        "serving": {"level": "INFO"},
        # Workers that die or hang are reported; that they come and go as they should is not.
        "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
    },
}
