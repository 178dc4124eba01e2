"""Refusals for want of time: made before Flask, for each should cost little of what it spares."""

import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from serving import arrival, tally
from serving.observe import HEADERS, good_id
from serving.problem import problem
from serving.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SENTENCE = "The server has more requests waiting than it can answer in time. Try again."
# As the blueprints are called, by the first part of the path.
FACES = {"predict": "native", "v1": "tensorflow_serving", "v2": "open_inference"}

Application = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]

logger = logging.getLogger(__name__)


def refusing(application: Application, settings: Settings) -> Application:
    """`application`, but for the requests that the worker wants refused; probes among them are for everybody."""
    status = HTTPStatus(settings.overload_status)

    def wsgi_app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not arrival.current.refused or environ["REQUEST_METHOD"] != "POST":
            return application(environ, start_response)
        path = environ["PATH_INFO"]
        body, kind = problem(path, status, SENTENCE)
        identity = good_id(environ.get("HTTP_X_REQUEST_ID", ""))
        own = {"Content-Type": kind, "Content-Length": str(len(body)), "Retry-After": "1", "X-Request-ID": identity}
        face = FACES.get(path.strip("/").partition("/")[0], "other")
        seconds = time.monotonic() - arrival.moment()
        tally.reply(tally.Reply(face, status.value, "", seconds, "overload"))
        if settings.access_log:
            fields = {"face": face, "code": status.value, "version": "", "seconds": round(seconds, 6)}
            logger.info("POST %s", quote(path.encode("latin-1")), extra={"fields": fields | {"request_id": identity}})
        start_response(f"{status.value} {status.phrase}", [*own.items(), *HEADERS.items()])
        return [body]

    return wsgi_app
