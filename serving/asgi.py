"""What gunicorn loads in each worker: the application at once, and its model in a thread beside it."""

import logging
import os
import threading
from functools import partial
from pathlib import Path

from serving import tracing
from serving.app import create_app
from serving.http.bridge import Bridge
from serving.model import first_start
from serving.model.follow import Follower, Load
from serving.model.runtimes import loader
from serving.model.served import Predictor, Served, find
from serving.settings import Settings
from serving.trial import try_out

WORKER_BOOT_ERROR = 3  # the exit status on which gunicorn's arbiter stops instead of trying for ever

logger = logging.getLogger(__name__)


def worker_app() -> Bridge:
    """The application of one worker. It answers /healthz at once, and /readyz once its model is warm."""
    settings = Settings.from_environ(os.environ)
    served = Served()
    # Not a daemon: a worker that stops while TensorFlow is being imported could crash in its C++.
    threading.Thread(target=_follow, args=(served, settings), name="follow the registry").start()
    app = create_app(served, settings)
    tracing.install(app)
    return Bridge(app, served, settings)


def _tried(load: Load, settings: Settings) -> Load:
    """`load`, which also lets the version answer one request of each protocol before it is served."""

    def load_and_try(directory: Path, version: int) -> Predictor:
        predictor = load(directory, version)
        try_out(predictor, settings)
        return predictor

    return load_and_try


def _follow(served: Served, settings: Settings) -> None:
    """Keep `served` at the version to serve until this worker ends.

    Where no worker was ready yet and none can be, this ends the worker, and with it the service, with the reason.
    """
    main = threading.main_thread()
    follower = Follower(served, partial(find, settings), _tried(loader(settings), settings))
    while main.is_alive():
        follower.poll()
        if served.ready:
            first_start.note_ready()
            if not settings.reload_seconds:
                return
        elif not settings.wait_for_model and not first_start.was_ready():
            logger.error("cannot serve: %s", served.trouble or "; ".join(served.failures.values()))
            os._exit(WORKER_BOOT_ERROR)
        main.join(settings.reload_seconds if served.ready else 1)
