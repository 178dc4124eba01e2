"""What gunicorn loads in each worker: the application at once, and its model in a thread beside it."""

import gc
import logging
import os
import threading
import time

from flask import Flask

from registry.card import CardError
from registry.store import RegistryError
from serving.app import create_app
from serving.model import ModelError, NoModelError, Served, find
from serving.settings import Settings

WORKER_BOOT_ERROR = 3  # the exit status on which gunicorn's arbiter stops instead of trying for ever

logger = logging.getLogger(__name__)


def worker_app() -> Flask:
    """The application of one worker. It answers /healthz at once, and /readyz once its model is warm."""
    settings = Settings.from_environ(os.environ)
    served = Served()
    # Not a daemon: a worker that stops while TensorFlow is being imported could crash in its C++.
    threading.Thread(target=_load, args=(served, settings), name="load model").start()
    return create_app(served, settings)


def _load(served: Served, settings: Settings) -> None:
    """Fill `served`, or end this worker, and with it the service, with the reason in one line."""
    begin = time.monotonic()
    try:
        # Here and not at the head: TensorFlow takes seconds to import, and probes are answered meanwhile.
        from serving.predictor import SavedModelPredictor, limit_threads

        limit_threads(settings.tf_threads)
        store, version = find(settings)
        predictor = SavedModelPredictor(store.path(version), version, xla=bool(settings.xla))
    except (NoModelError, RegistryError, CardError, ModelError) as error:
        logger.error("cannot serve: %s", error)
        os._exit(WORKER_BOOT_ERROR)
    except BaseException:
        logger.exception("cannot serve")
        os._exit(WORKER_BOOT_ERROR)
    # Full collections over TensorFlow's many objects would stall requests for 100 ms and more.
    gc.collect()
    gc.freeze()
    served.replace(predictor)
    logger.info("%s version %s is ready after %.1f s", store.name, version, time.monotonic() - begin)
