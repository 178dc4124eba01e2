"""The model follows the registry: a newer or pinned version is verified, loaded beside the old one, and swapped in."""

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry.card import CardError
from registry.store import ModelStore, RegistryError
from serving import metrics
from serving.model import ModelError, Predictor, Served

# While a version loads, its thread gives way ten times sooner than Python's 5 ms, so that requests hardly feel it.
LOADING_SWITCH_INTERVAL = 0.0005

Load = Callable[[Path, int], Predictor]

logger = logging.getLogger(__name__)


class Follower:
    """Keeps `served` at the version that `store` serves.

    Args:
        served: the place to fill; its `failures` say what could not be served.
        store: where to look.
        load: loads and warms the version in a directory; raises ModelError or CardError.
    """

    def __init__(self, served: Served, store: ModelStore, load: Load) -> None:
        self._served = served
        self._store = store
        self._load = load
        self._refused: int | None = None
        self._complaint = ""

    def start(self) -> None:
        """Load the first version. Raises RegistryError, CardError or ModelError when it cannot be served."""
        version = self._store.served()
        if version is None:
            raise ModelError(f"there is no version of {self._store.name} in {self._store.root} any more")
        # What TensorFlow's import left is for ever; unseen by the collector, its full collections take 10 ms
        # instead of 300. A version loaded later is not frozen, so that nothing of it stays once it is replaced.
        gc.collect()
        gc.freeze()
        self._swap(version)

    def follow(self, seconds: float) -> None:
        """Look every so many `seconds`, until the main thread ends."""
        main = threading.main_thread()
        while True:
            main.join(seconds)
            if not main.is_alive():
                return
            self.look()

    def look(self) -> None:
        """Swap if another version is to be served. One that cannot be is reported, and tried once."""
        try:
            version = self._store.served()
        except RegistryError as error:
            # A broken pin, or a disk that does not answer: say so once, and serve on.
            self._complain(str(error))
            return
        self._complaint = ""
        if version == self._refused:
            return
        self._refused = None
        if version is None or (self._served.ready and version == self._served.predictor().version):
            return
        try:
            self._swap(version)
        except Exception as error:
            self._refused = version
            self._served.fail(version, str(error))
            metrics.FAILURES.inc()
            # What nobody foresaw comes with its traceback.
            known = isinstance(error, ModelError | CardError | RegistryError)
            logger.error("version %s is not served: %s", version, error, exc_info=not known)

    def _swap(self, version: int) -> None:
        begin = time.monotonic()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(LOADING_SWITCH_INTERVAL)
        try:
            if problems := self._store.verify(version):
                raise ModelError(f"{self._store.path(version)} is damaged: {'; '.join(problems)}")
            predictor = self._load(self._store.path(version), version)
        finally:
            sys.setswitchinterval(interval)
        seconds = time.monotonic() - begin
        self._served.replace(predictor, seconds)
        metrics.VERSION.labels(self._store.name).set(version)
        metrics.LOADING.set(seconds)
        logger.info("%s version %s is ready after %.1f s", self._store.name, version, seconds)
        # The old version hangs together in cycles; the last request that holds it may still be at work.
        gc.collect()

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.error("the served version stays: %s", complaint)
        self._complaint = complaint
