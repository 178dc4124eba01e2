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
        by_name: all models, the default one first; empty until it is known which there are. It is replaced whole,
            never changed, so that readers need no lock.
        draining: whether the worker is shutting down: it answers, but is not ready for more.
    """

    def __init__(self, settings: Settings, served: Served | None = None) -> None:
        self._settings = settings
        self.default = Inference(served or Served(), settings)
        self.draining = False
        self.by_name: dict[str, Inference] = {}
        if self.default.served.ready:
            self.set_names([self.default.served.predictor().card.name])

    def set_names(self, names: Sequence[str]) -> None:
        """Give each of `names` its place; the first is the default model's."""
        first, *others = names
        self.by_name = {first: self.default} | {each: Inference(Served(), self._settings) for each in others}

    def named(self, name: str, wait: bool = False) -> Inference:
        """The model `name`, as a request has it.

        Args:
            name: as the path or the query has it.
            wait: whether to wait while it is not known yet which models there are.

        Raises:
            NotServedError: no such model is served.
            NotReadyError: it did not become known in time.
        """
        if not self.by_name:
            self.default.served.predictor(self._settings.ready_timeout if wait else 0)
        found = self.by_name.get(normalized(name))
        if found is None:
            raise NotServedError(f"The model must be {' or '.join(self.by_name)}. Received: {name:.60}.")
        return found

    def in_query(self, query: Mapping[str, str], wait: bool = False) -> Inference:
        """The model that `?model=NAME` in a query names, else the default one. Raises as `named`."""
        return self.named(query["model"], wait) if "model" in query else self.default

    def asked_by(self, path: str, query: str) -> Served:
        """The model that a request is for, the default one where it names none that is served."""
        if len(self.by_name) < 2:
            return self.default.served
        parts = path.split("/")
        if parts[2:3] == ["models"]:
            name = "".join(parts[3:4]).partition(":")[0]
        else:
            name = parse_qs(query).get("model", [""])[0]
        return self.by_name.get(normalized(name), self.default).served

    @property
    def ready(self) -> bool:
        """Whether the default model has a version loaded and warm, and the worker is not ending."""
        return self.default.served.ready and not self.draining

    def check_ready(self, inference: Inference) -> None:
        """Raises NotReadyError unless `inference` has a version loaded and warm, and the worker is not ending."""
        inference.served.predictor()
        if self.draining:
            raise NotReadyError("The server is shutting down. Ask another one.")
