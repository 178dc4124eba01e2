"""The two runtimes, of which one is imported: TensorFlow, or LiteRT in a process without TensorFlow."""

import gc
from functools import cache, partial

from serving.model.follow import Load
from serving.settings import Settings


def loader(settings: Settings) -> Load:
    """What loads a version on the chosen runtime, which is imported when the first version is there."""

    @cache
    def runtime() -> Load:
        # TensorFlow takes seconds to import, and probes are answered meanwhile.
        if settings.runtime == "litert":
            from serving.model.litert import LiteRTPredictor

            load: Load = partial(LiteRTPredictor, threads=settings.tf_threads)
        else:
            from serving.model.tensorflow import SavedModelPredictor, limit_threads

            limit_threads(settings.tf_threads)
            load = partial(SavedModelPredictor, xla=bool(settings.xla))
        # What TensorFlow's import left is for ever; unseen by the collector, its full collections take 10 ms
        # instead of 300. A version loaded later is not frozen, so that nothing of it stays once it is replaced.
        gc.collect()
        gc.freeze()
        return load

    return lambda directory, version: runtime()(directory, version)
