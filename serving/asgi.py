"""What gunicorn loads in each worker: the application at once, and its models in a thread beside it."""

import logging
import os
import threading
from functools import partial
from pathlib import Path

from registry.store import ModelStore
from serving import tracing
from serving.app import create_app
from serving.http.bridge import Bridge
from serving.model import first_start
from serving.model.follow import Follower, Load
from serving.model.models import Models
from serving.model.runtimes import loader
from serving.model.served import Predictor, names_to_serve
from serving.settings import Settings
from serving.trial import try_out

WORKER_BOOT_ERROR = 3  # the exit status on which gunicorn's arbiter stops instead of trying for ever

logger = logging.getLogger(__name__)


def worker_app() -> Bridge:
    """The application of one worker. It answers /healthz at once, and /readyz once its default model is warm."""
    settings = Settings.from_environ(os.environ)
    models = Models(settings)
    # Not a daemon: a worker that stops while TensorFlow is being imported could crash in its C++.
    threading.Thread(target=_follow, args=(models, settings), name="follow the registry").start()
    app = create_app(models, settings)
    tracing.install(app)
    return Bridge(app, models, settings)


def _tried(load: Load, settings: Settings) -> Load:
    """`load`, which also lets the version answer one request of each protocol before it is served."""

    def load_and_try(directory: Path, version: int) -> Predictor:
        predictor = load(directory, version)
        try_out(predictor, settings)
        return predictor

    return load_and_try


def _follow(models: Models, settings: Settings) -> None:
    """Keep each of `models` at the version to serve until this worker ends, the default one first.

    Where no worker was ready yet and the default model cannot be served, this ends the worker, and with it the
    service, with the reason.
    """
    main = threading.main_thread()
    load = _tried(loader(settings), settings)
    default, others = models.default.served, list[Follower]()

    def find() -> ModelStore:
        names = first_start.noted_names() or first_start.note_names(names_to_serve(settings))
        models.set_names(names)
        default_name, *other_names = names
        for name in other_names:
            others.append(Follower(models.named(name).served, partial(ModelStore, settings.model_root, name), load))
        return ModelStore(settings.model_root, default_name)

    follower = Follower(default, find, load)
    while main.is_alive():
        if settings.reload_seconds or not default.ready:
            follower.poll()
        if default.ready:
            first_start.note_ready()
        elif not settings.wait_for_model and not first_start.was_ready():
            logger.error("cannot serve: %s", default.trouble or "; ".join(default.failures.values()))
            os._exit(WORKER_BOOT_ERROR)
        for each in others:
            if main.is_alive() and (settings.reload_seconds or not each.ready):
                each.poll()
        if not settings.reload_seconds and default.ready and all(each.served.ready for each in models.by_name.values()):
            return
        main.join((default.ready and settings.reload_seconds) or 1)
