"""The models that a worker serves: each answers by its name, and the default one where no name is given."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from registry.names import normalized
from serving.errors import NotReadyError, NotServedError
from serving.model.inference import Inference
from serving.model.served import Served
from serving.settings import Settings


class Models:
    """All models of a worker. Each has its own place, queue and version, so that none waits for another.

    Args:
        settings: of the service.
        served: the default model's place, empty until it is loaded.

    Attributes:
        default: the model that answers where none is named. It is there before its name is known.
        draining: whether the worker is shutting down: it answers, but is not ready for more.
    """

    def __init__(self, settings: Settings, served: Served | None = None) -> None:
        self._settings = settings
        self.default = Inference(served or Served(), settings)
        self.draining = False
        # Replaced whole, never changed, so that readers need no lock.
        self._named: dict[str, Inference] = {}
        if self.default.served.ready:
            self.name([self.default.served.predictor().card.name])

    def name(self, names: Sequence[str]) -> None:
        """Give each of `names` its place; the first is the default model's."""
        first, *others = names
        self._named = {first: self.default} | {each: Inference(Served(), self._settings) for each in others}

    @property
    def by_name(self) -> dict[str, Inference]:
        """All models, the default one first; empty until it is known which there are."""
        return self._named

    def of(self, name: str, wait: bool = False) -> Inference:
        """The model `name`, as a request has it.

        Args:
            name: as the path or the query has it.
            wait: whether to wait while it is not known yet which models there are.

        Raises:
            NotServedError: no such model is served.
            NotReadyError: it did not become known in time.
        """
        if not self._named:
            self.default.served.predictor(self._settings.ready_timeout if wait else 0)
        found = self._named.get(normalized(name))
        if found is None:
            raise NotServedError(f"The model must be {' or '.join(self._named)}. Received: {name:.60}.")
        return found

    def chosen(self, query: Mapping[str, str], wait: bool = False) -> Inference:
        """The model that `?model=NAME` in a query names, else the default one. Raises as `of`."""
        return self.of(query["model"], wait) if "model" in query else self.default

    def asked_by(self, path: str, query: str) -> Served:
        """The model that a request is for, the default one where it names none that is served."""
        if len(self._named) < 2:
            return self.default.served
        _, _, *parts = path.split("/")
        names = (
            [part.partition(":")[0] for part in parts[1:2]] if parts[:1] == ["models"] else parse_qs(query).get("model")
        )
        found = self._named.get(normalized(names[0])) if names else None
        return (found or self.default).served

    @property
    def ready(self) -> bool:
        """Whether the default model has a version loaded and warm, and the worker is not ending."""
        return self.default.served.ready and not self.draining

    def check_ready(self, inference: Inference) -> None:
        """Raises NotReadyError unless `inference` has a version loaded and warm, and the worker is not ending."""
        inference.served.predictor()
        if self.draining:
            raise NotReadyError("The server is shutting down. Ask another one.")
