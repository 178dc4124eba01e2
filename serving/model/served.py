"""The model that is served: where it is on disk, and its loaded version."""

import math
import threading
from collections.abc import Callable, Sequence
from timeit import repeat, timeit
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from registry.card import ModelCard
from registry.models import models, newest_pushed
from registry.names import is_name
from registry.store import ModelStore
from serving.errors import NotReadyError
from serving.images.pixels import Images
from serving.settings import Settings


class NoModelError(RuntimeError):
    """There is nothing to serve yet; the message says how to mend it."""


class ManyModelsError(NoModelError):
    """There are more models than may be served, and waiting would not change that."""


class ModelError(RuntimeError):
    """A version cannot be served: it does not load, or is not what its card says."""


# A run of one model takes no longer than this, so that requests do not wait long for one another, unless a batch of
# twice as many images takes less than this many times as long: on a GPU, a larger batch of a large model is cheap.
LONGEST_RUN = 0.02  # seconds
CHEAP = 1.5
REPEATS = 5  # of a measurement, of which the quickest counts, because another process may have slowed the others
# Probes wait for what runs in the event loop: up to a few dozen requests that take so long, or one alone.
QUICK_SECONDS = 0.002
LONE_SECONDS = 0.01


def quickest(run: Callable[[], object]) -> float:
    """The seconds of the quickest of some runs; a single one of a slow model."""
    seconds = timeit(run, number=1)
    return seconds if seconds > 10 * LONGEST_RUN else min(seconds, *repeat(run, number=1, repeat=REPEATS - 1))


def pays(seconds: Sequence[float]) -> bool:
    """Whether the last of some batches, each larger than the one before, is worth running; `seconds` of each."""
    return len(seconds) == 1 or seconds[-1] <= max(LONGEST_RUN, CHEAP * seconds[-2])


class Predictor(Protocol):
    """One loaded and warm version of a model. Any thread may call it."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def version(self) -> int: ...

    @property
    def batches(self) -> bool:
        """Whether several images at once take hardly longer than one."""
        ...

    @property
    def largest(self) -> int:
        """Images of one run at most: beyond, twice as many take twice as long, and everybody waits for them."""
        ...

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Probabilities of shape (n, classes) for raw images of shape (n, height, width, channels)."""
        ...


class Served:
    """Holds the served predictor: empty until one is loaded and warm, then replaced atomically.

    A request takes the predictor once and keeps it to its end, so that its reply is of one version.
    """

    def __init__(self, predictor: Predictor | None = None) -> None:
        self._predictor = predictor
        self._settled = threading.Event()  # cleared while a first version may be about to come
        self.image_bytes = 1
        self._seconds, self._seconds_per_image = math.inf, math.inf  # of one image alone, and in the largest run
        # Version -> why it could not be served; replaced whole, never changed, so that readers need no lock.
        self.failures: dict[int, str] = {}
        self.trouble = ""  # why the registry cannot be followed now, if so
        if predictor is not None:
            self._settled.set()

    def begin(self) -> None:
        """Let requests wait for a first version that is being loaded; those for a refused one do not wait again."""
        if self._predictor is None and not self.failures:
            self._settled.clear()

    def settle(self) -> None:
        """Let no request wait any longer: where there is no version yet, the next attempt comes later."""
        self._settled.set()

    def replace(self, predictor: Predictor) -> None:
        """Let `predictor` answer from the next request on."""
        image = np.full((1, *predictor.card.input.shape), 255, np.uint8)
        images = image.repeat(predictor.largest, axis=0)
        seconds = quickest(lambda: predictor.predict(image))
        self._seconds_per_image = quickest(lambda: predictor.predict(images)) / len(images)
        self.image_bytes, self._seconds = image.size, seconds
        self._predictor = predictor
        self.failures = {version: why for version, why in self.failures.items() if version != predictor.version}
        self._settled.set()

    def seconds(self, images: float) -> float:
        """About how long the predictor takes for so many images, infinite while there is none."""
        return max(self._seconds, images * self._seconds_per_image)

    @property
    def ready(self) -> bool:
        return self._predictor is not None

    @property
    def batches(self) -> bool:
        """Whether the predictor answers several images at once in hardly more time than one."""
        return self._predictor is None or self._predictor.batches

    def predictor(self, timeout: float = 0) -> Predictor:
        """The predictor of the served version, waiting up to `timeout` seconds. Raises NotReadyError if none came."""
        if self._predictor is None:
            self._settled.wait(timeout)
        if self._predictor is None:
            if self.failures or self.trouble:
                raise NotReadyError("No version of the model can be served now; the log says why.")
            raise NotReadyError("The model is being loaded. Try again in a moment.")
        return self._predictor


def find(settings: Settings) -> ModelStore:
    """The store of the default model: the first of MODEL_NAME, or the newest pushed.

    Raises:
        NoModelError: no model pushed yet, or none of that name.
        RegistryError: the disk refuses.
    """
    return ModelStore(settings.model_root, _pushed(settings)[0])


def names_to_serve(settings: Settings) -> tuple[str, ...]:
    """The names of the models to serve, the default one first.

    Raises:
        ManyModelsError: more than MAX_MODELS.
        NoModelError, RegistryError: as `find`.
    """
    names = _pushed(settings)
    if len(names) > settings.max_models:
        raise ManyModelsError(
            f"MAX_MODELS must be at least the number of models to serve. Received: {settings.max_models} for "
            f"{', '.join(sorted(names))} in {settings.model_root}. Raise it, or choose models with MODEL_NAME"
        )
    return names


def _pushed(settings: Settings) -> tuple[str, ...]:
    """Those of MODEL_NAME as they are named, or all there are: the newest pushed, then the others by name."""
    root, named = settings.model_root, settings.model_names
    pushed = models(root)
    if not pushed:
        mount = f", or mount a directory of pushed models, such as artifacts/models, at {root}"
        raise NoModelError(_nothing_in(settings) + mount * settings.wait_for_model)
    if absent := [name for name in named if name not in pushed]:
        raise NoModelError(f"MODEL_NAME must be a model in {root} ({', '.join(pushed)}). Received: {absent[0]!r}")
    return named or tuple(dict.fromkeys([newest_pushed(root, pushed), *pushed]))


def _nothing_in(settings: Settings) -> str:
    """Why there is no model, and how to get one."""
    root = settings.model_root
    if settings.models is None:
        return f'no model in {root} yet: run "make train" first'
    if not root.is_dir():
        return f"no model in {root}, which is no directory: MODELS must be one with a subdirectory for each model"
    whole = root.resolve()
    if is_name(whole.name) and ModelStore(whole.parent, whole.name).versions():
        return f"no model in {root}, which is a model itself: MODELS must be {whole.parent}"
    return f'no model in {root} yet: run "make train" first, or set MODELS to where the models are'
