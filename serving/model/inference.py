"""What every protocol asks one model for: its served version, behind the queue that this worker has for it."""

import time

from serving.errors import NotServedError
from serving.images.pixels import Images
from serving.model.assets import CurrentAssets
from serving.model.batcher import Answer, Batcher
from serving.model.served import Predictor, Served
from serving.observe import Exchange
from serving.settings import Settings


class Inference:
    """The predictor in `served`, reached through one queue for all protocols."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served = served
        self.settings = settings
        self.assets = CurrentAssets(settings)
        self.batcher = Batcher()

    def predictor(self) -> Predictor:
        """The predictor of the served version, waiting for it to load. Raises NotReadyError if it takes too long."""
        return self.served.predictor(self.settings.ready_timeout)

    def predictor_of(self, version: str | None, wait: bool = False) -> Predictor:
        """The predictor of the served version, if it is that of `version`, where one is asked for.

        Args:
            version: as the path has it, None where it has none.
            wait: whether to wait while a first version loads.

        Raises:
            NotReadyError: none came in time.
            NotServedError: another version.
        """
        predictor = self.predictor() if wait else self.served.predictor()
        if version is not None and version != str(predictor.version):
            raise NotServedError(
                f"The version of {predictor.card.name} must be {predictor.version}. Received: {version:.20}."
            )
        return predictor

    def states(self, version: str | None) -> dict[int, str | None]:
        """Version number -> None where it is served, the reason where it could not be; all, or the one asked for.

        Raises:
            NotReadyError, NotServedError: as `predictor_of`.
        """
        predictor = self.served.predictor()
        states = {**self.served.failures, predictor.version: None}
        wanted = {number: states[number] for number in sorted(states) if version in (None, str(number))}
        if not wanted:
            self.predictor_of(version)  # raises
        return wanted

    def run(self, exchange: Exchange, predictor: Predictor, images: Images) -> Answer:
        """Ask `predictor`, which the request of `exchange` took at its beginning.

        Args:
            exchange: the request; it learns how long the phases took, and what was answered.
            predictor: the version that shall answer.
            images: of shape (n, height, width, channels).

        Raises:
            DeadlineError: the request waited longer than it may.
        """
        asked = time.monotonic()
        answer = self.batcher.predict(predictor, images, exchange.deadline)
        exchange.predicted(predictor, answer, asked)
        return answer
