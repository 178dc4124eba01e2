"""What is recorded of each request: its id, its metrics, its trace and its line in the log."""

import logging
import math
import random
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from serving import metrics, tracing
from serving.logs import request_id
from serving.model.batcher import Answer
from serving.model.served import Predictor

# Defaults; the page sets a Cache-Control of its own.
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
# As the blueprints are called, by the first part of the path.
PROTOCOLS = {"predict": "native", "v1": "tensorflow_serving", "v2": "open_inference"}

# An id is logged as it came, so it must not be able to forge a line, nor to fill a disk.
_GOOD_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

ENVIRON_KEY = "serving.exchange"

logger = logging.getLogger(__name__)


def good_id(given: str) -> str:
    """The id that a client gave its request, or a new one if there is none that may be printed."""
    # It is no secret, so the generator that makes no system call will do: uuid4 takes five times as long.
    return given if _GOOD_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


@dataclass(slots=True)
class Exchange:
    """A request, and what becomes known of it until its reply. Times are of the monotonic clock, in seconds.

    Attributes:
        method, path: of the request.
        identity: what X-Request-ID says.
        began: when the application was asked, at the earliest when its head had arrived.
        received: when its body had arrived whole; 0 until then.
        deadline: when it is too late to begin with it; the time that its client took to send it does not count.
        started: when it had a thread, or its turn in the event loop.
        rejected: why it was not served in time, None where it was.
        model, version: that answered, empty where none did.
        prediction: the arguments of `metrics.count_prediction`, None where the model was not asked.
    """

    method: str
    path: str
    identity: str
    began: float
    received: float = 0.0
    deadline: float = math.inf
    started: float = 0.0
    rejected: str | None = None
    model: str = ""
    version: str = ""
    prediction: tuple[Any, ...] | None = None

    @classmethod
    def begin(cls, method: str, path: str, given_id: str) -> "Exchange":
        """Start the clock, and give the log lines from here on the request's id."""
        exchange = cls(method, path, good_id(given_id), time.monotonic())
        request_id.set(exchange.identity)
        return exchange

    @property
    def protocol(self) -> str:
        """The label of its metrics. Probes and descriptions would hide in their number how long predictions take."""
        if self.method != "POST":
            return "other"
        return PROTOCOLS.get(self.path[1:].partition("/")[0], "other")

    def predicted(self, predictor: Predictor, answer: Answer, asked: float) -> None:
        """Note and trace the model's answer, for which the request's images were ready when it `asked`."""
        self.model, self.version = predictor.card.name, str(predictor.version)
        queued = self.started - self.received + answer.queued
        phases = {"parse": asked - self.started, "queue": queued, "compute": answer.computed}
        self.prediction = phases, answer.batch, answer.probabilities, predictor.card.classes, self.model
        tracing.add_phases(phases, self.started, self.model, self.version)

    def end(self, code: int, access_log: bool) -> None:
        """Count and, with ACCESS_LOG, log the reply."""
        seconds, protocol = time.monotonic() - (self.received or self.began), self.protocol
        metrics.later(metrics.count_reply, protocol, code, self.model, self.version, seconds, self.rejected)
        if self.prediction:
            metrics.later(metrics.count_prediction, *self.prediction)
        if access_log:
            fields = {"protocol": protocol, "code": code, "model": self.model, "version": self.version}
            fields["seconds"] = round(seconds, 6)
            logger.info("%s %s", self.method, quote(self.path), extra={"fields": fields})


def exchange_of(environ: dict[str, Any]) -> Exchange:
    """The exchange of a WSGI environ, where `http/bridge.py` puts it."""
    exchange: Exchange = environ[ENVIRON_KEY]
    return exchange
