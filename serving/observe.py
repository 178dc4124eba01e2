"""What each request leaves behind: its id and a few headers in the reply, its figures, its line in the log."""

import logging
import random
import re
import time
from urllib.parse import quote

from flask import Flask, Response, g, request

from serving import arrival, tally, tracing
from serving.logs import request_id
from serving.model.batcher import Answer
from serving.model.served import Predictor
from serving.settings import Settings

# What does not say otherwise, as the page does, is not for a cache.
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

NOT_COUNTED = "serving.not_counted"  # in the environment of a request that no client sent

# What is printed as it came must not be able to forge a line, nor to fill a disk.
_GOOD_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

logger = logging.getLogger(__name__)


def good_id(given: str) -> str:
    """The id that a client gave its request, or a new one if there is none that may be printed."""
    # Nobody's secret, so the generator that makes no system call will do: uuid4 takes five times as long.
    return given if _GOOD_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def observe(app: Flask, settings: Settings) -> None:
    """Let every reply of `app` be counted, timed, headed and, with ACCESS_LOG, logged."""

    @app.before_request
    def begin() -> None:
        g.begin = arrival.moment()
        request_id.set(good_id(request.headers.get("X-Request-ID", "")))

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.monotonic() - g.get("begin", time.monotonic())
        # Probes and descriptions would hide in their great number how long predictions take.
        face = (request.blueprint if request.method == "POST" else None) or "other"
        version = str(g.get("version", ""))
        response.headers["X-Request-ID"] = request_id.get() or ""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if NOT_COUNTED not in request.environ:
            tally.reply(tally.Reply(face, response.status_code, version, seconds, g.get("rejected")))
        if settings.access_log:
            fields = {"face": face, "code": response.status_code, "version": version, "seconds": round(seconds, 6)}
            logger.info("%s %s", request.method, quote(request.path), extra={"fields": fields})
        tracing.finish(response.status_code, version)
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        request_id.set(None)  # the thread lives on, and so does its context


def prediction(predictor: Predictor, answer: Answer, waiting: int, asked: float) -> None:
    """Note one answered prediction.

    Args:
        predictor: the version that answered.
        answer: what it said, and how long that took.
        waiting: requests without a thread or in the model's queue when this one had been answered.
        asked: when the images were ready for the model, by the monotonic clock.
    """
    g.version = predictor.version
    waited = arrival.without_thread()
    phases = {"parse": asked - g.begin - waited, "queue": answer.queued, "compute": answer.computed}
    tracing.phases(phases, asked)
    phases["queue"] += waited
    if NOT_COUNTED not in request.environ:
        tally.prediction(tally.Prediction(phases, answer.batch, waiting, answer.probabilities, predictor.card.classes))
