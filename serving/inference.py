"""What every face asks for predictions: the version that answers now, behind the queue of this worker."""

import numpy as np
from numpy.typing import NDArray

from serving import arrival
from serving.batcher import Answer, Batcher
from serving.model import Predictor, Served
from serving.settings import Settings

# Images of one run at most: beyond, a run takes twice as long for twice as many, and everybody waits for it.
LARGEST_RUN = 64


class Inference:
    """The predictor in `served`, reached through one bounded queue for all faces."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served = served
        self.settings = settings
        self.batcher = Batcher(settings.max_queue, LARGEST_RUN)

    def predictor(self) -> Predictor:
        """The predictor of now, waited for while it loads. Raises NotReadyError when none came in time."""
        return self.served.predictor(self.settings.ready_timeout)

    def run(self, predictor: Predictor, images: NDArray[np.uint8]) -> Answer:
        """Ask `predictor`, which the request took at its beginning, for uint8 (n, height, width, channels).

        Raises:
            OverloadedError: too many requests wait.
            DeadlineError: the request waited too long, counted from its arrival.
        """
        deadline = arrival.moment() + self.settings.deadline_ms / 1000
        return self.batcher.predict(predictor, images, deadline)
