"""What gunicorn loads in each worker: the application at once, and its model in a thread beside it."""

import logging
import os
import threading
from functools import partial

from flask import Flask

from registry.card import CardError
from registry.store import ModelStore, RegistryError
from serving.app import create_app
from serving.lean_import import without_remarks
from serving.model import ManyModelsError, ModelError, NoModelError, Served, find
from serving.reload import Follower, Load
from serving.settings import Settings

WORKER_BOOT_ERROR = 3  # the exit status on which gunicorn's arbiter stops instead of trying for ever

logger = logging.getLogger(__name__)


def worker_app() -> Flask:
    """The application of one worker. It answers /healthz at once, and /readyz once its model is warm."""
    settings = Settings.from_environ(os.environ)
    served = Served()
    # Not a daemon: a worker that stops while TensorFlow is being imported could crash in its C++.
    threading.Thread(target=_follow, args=(served, settings), name="follow the registry").start()
    return create_app(served, settings)


def _loader(settings: Settings) -> Load:
    """What loads a version on the runtime of choice."""
    # Here and not at the head: TensorFlow takes seconds to import, and probes are answered meanwhile.
    if settings.runtime == "litert":
        from serving.litert import LiteRTPredictor

        return partial(LiteRTPredictor, threads=settings.tf_threads)
    with without_remarks():
        from serving.predictor import SavedModelPredictor, limit_threads

        limit_threads(settings.tf_threads)
    return partial(SavedModelPredictor, xla=bool(settings.xla))


def _follow(served: Served, settings: Settings) -> None:
    """Fill `served` and keep it up to date, or end this worker, and with it the service, with the reason in a line."""
    try:
        store = _wait_for_store(settings)
        if store is None:
            return
        follower = Follower(served, store, _loader(settings))
        follower.start()
    except (NoModelError, RegistryError, CardError, ModelError) as error:
        logger.error("cannot serve: %s", error)
        os._exit(WORKER_BOOT_ERROR)
    except BaseException:
        logger.exception("cannot serve")
        os._exit(WORKER_BOOT_ERROR)
    if settings.reload_seconds:
        follower.follow(settings.reload_seconds)


def _wait_for_store(settings: Settings) -> ModelStore | None:
    """The store of the model to serve: with WAIT_FOR_MODEL once there is one, or None when this worker ends before."""
    main, complaint = threading.main_thread(), ""
    while main.is_alive():
        try:
            return find(settings)[0]
        except NoModelError as error:
            if not settings.wait_for_model or isinstance(error, ManyModelsError):
                raise
            if str(error) != complaint:
                complaint = str(error)
                logger.warning(
                    "not ready: %s, or mount a directory of pushed models, such as artifacts/models, at %s",
                    error,
                    settings.model_root,
                )
        main.join(settings.reload_seconds or 1)
    return None
