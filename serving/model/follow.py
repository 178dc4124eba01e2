"""The model follows the registry: a newer or pinned version is verified, loaded beside the old one, and swapped in."""

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.card import CardError
from registry.store import ModelStore, RegistryError
from serving import metrics
from serving.model.served import ModelError, NoModelError, Predictor, Served

# While a version loads, its thread gives way ten times sooner than Python's 5 ms, so that requests hardly feel it.
LOADING_SWITCH_INTERVAL = 0.0005
# A version may be refused for a passing reason, such as too little memory or a copy that is not finished. The time to
# the next attempt doubles without end, because an attempt may leave some MiB in TensorFlow that never come back.
FIRST_RETRY = 5.0  # seconds

Load = Callable[[Path, int], Predictor]

logger = logging.getLogger(__name__)


class Follower:
    """Keeps `served` at the version that the registry asks for, or else at the newest that can be served.

    Args:
        served: the place to fill; it also says what could not be served, and why the registry cannot be followed.
        find: the store to follow, asked until there is one; raises NoModelError or RegistryError.
        load: loads and tries out the version in a directory; raises ModelError or CardError.
        clock: what the time between two attempts is measured by, in seconds.
    """

    def __init__(
        self, served: Served, find: Callable[[], ModelStore], load: Load, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._served = served
        self._find = find
        self._load = load
        self._clock = clock
        self._store: ModelStore | None = None
        self._retries: dict[int, tuple[float, float]] = {}  # refused version -> last delay, and when to try again

    @property
    def ready(self) -> bool:
        """Whether a version is served."""
        return self._served.ready

    def poll(self) -> None:
        """Swap if another version is to be served. Whatever goes wrong is reported, and the next call tries again."""
        trouble, unforeseen, level = "", None, logging.ERROR
        try:
            self._poll()
        except NoModelError as error:
            trouble, level = str(error), logging.WARNING
        except RegistryError as error:
            trouble = str(error)
        except Exception as error:
            trouble, unforeseen = f"{type(error).__name__}: {error}", error
        if trouble:
            metrics.READ_FAILURES.inc()
        if trouble and trouble != self._served.trouble:
            state = "the served version stays" if self._served.ready else "not ready"
            logger.log(level, "%s: %s", state, trouble, exc_info=unforeseen)
        self._served.trouble = trouble
        self._served.settle()

    def _poll(self) -> None:
        store = self._store = self._store or self._find()
        try:
            wanted = store.served()
        except RegistryError:
            # A broken pin is no reason to serve nothing, nor to leave the version that was pinned before.
            if not self._served.ready:
                self._serve_first(store, reversed(store.versions()))
            raise
        if wanted is None:
            raise NoModelError(f'no version of {store.name} in {store.root} any more: run "make train" again')
        self._serve_first(store, _from(store, wanted))

    def _serve_first(self, store: ModelStore, versions: Iterable[int]) -> None:
        """Serve the first of `versions` that can be."""
        for version in versions:
            if self._served.ready and self._served.predictor().version == version:
                return
            _, due = self._retries.get(version, (0.0, -float("inf")))
            if self._clock() >= due and self._try(store, version):
                return

    def _try(self, store: ModelStore, version: int) -> bool:
        """Swap `version` in, or report why it cannot be served."""
        self._served.begin()
        try:
            self._swap(store, version)
        except Exception as error:
            delay = 2 * self._retries[version][0] if version in self._retries else FIRST_RETRY
            self._retries[version] = (delay, self._clock() + delay)
            self._served.failures = self._served.failures | {version: str(error)}
            metrics.FAILURES.inc()
            # An unexpected error comes with its traceback.
            known = isinstance(error, ModelError | CardError | RegistryError)
            sentence = "%s version %s is not served: %s; next attempt in %d s"
            logger.error(sentence, store.name, version, error, delay, exc_info=not known)
            return False
        finally:
            # A version hangs together in cycles: the replaced one, which a last request may still use, or the refused.
            gc.collect()
        self._retries.pop(version, None)
        return True

    def _swap(self, store: ModelStore, version: int) -> None:
        begin = time.monotonic()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(LOADING_SWITCH_INTERVAL)
        try:
            if problems := store.verify(version):
                raise ModelError(f"{store.path(version)} is damaged: {'; '.join(problems)}")
            predictor = self._load(store.path(version), version)
            if predictor.card.name != store.name:
                raise ModelError(f"{store.path(version)} has the card of another model, {predictor.card.name}")
        finally:
            sys.setswitchinterval(interval)
        seconds = time.monotonic() - begin
        # Set before, so that whoever sees the service ready finds the version in its metrics.
        metrics.VERSION.labels(store.name).set(version)
        metrics.LOADING.labels(store.name).set(seconds)
        self._served.replace(predictor)
        runs = predictor.largest
        logger.info("%s version %s is ready after %.1f s, %d images a run", store.name, version, seconds, runs)


def _from(store: ModelStore, wanted: int) -> Iterator[int]:
    """The version to serve, and then the others, which are listed only if it cannot be served: the newest first."""
    yield wanted
    yield from (each for each in reversed(store.versions()) if each != wanted)
