"""The Flask application: its faces, and the one place where errors become HTTP replies."""

import io
from collections.abc import Callable
from http import HTTPStatus
from typing import IO, Any

from flask import Flask, Request, Response, g, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter

from registry.errors import RegistryError
from serving import cors, metrics, tally
from serving.api import description, native, open_inference, openapi, tensorflow_serving
from serving.errors import (
    DeadlineError,
    ForbiddenError,
    InvalidImageError,
    NotReadyError,
    NotServedError,
    OverloadedError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from serving.images.json_text import OrjsonProvider
from serving.keys import Keys
from serving.model.assets import ExtrasOfNow
from serving.model.inference import Inference
from serving.model.served import Served
from serving.observe import observe
from serving.page import routes as page
from serving.problem import problem
from serving.refusal import refusing
from serving.settings import Settings

STATUS: dict[type[Exception], HTTPStatus] = {
    InvalidImageError: HTTPStatus.BAD_REQUEST,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ForbiddenError: HTTPStatus.UNAUTHORIZED,
    NotServedError: HTTPStatus.NOT_FOUND,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    RegistryError: HTTPStatus.SERVICE_UNAVAILABLE,
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
}
REJECTED: dict[type[Exception], str] = {OverloadedError: "overload", DeadlineError: "deadline"}  # reasons in metrics
RETRY = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}


class MemoryRequest(Request):
    """A request whose uploads stay in memory: its body is limited, and no image touches the disk."""

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return io.BytesIO()

    def make_form_data_parser(self) -> FormDataParser:
        """One that says what is wrong with a form, instead of finding nothing in it."""
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser


class App(Flask):
    """Flask without a question to each function of each request whether it is a coroutine; none is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


class ModelName(BaseConverter):
    """A model's name or version in a path: without a colon, behind which TensorFlow Serving has the verb."""

    regex = "[^/:]+"


def create_app(served: Served, settings: Settings) -> Flask:
    """The application over the predictor in `served`, which may still be empty."""
    app = App(__name__, static_folder=None)
    app.request_class = MemoryRequest
    app.url_map.converters["model"] = ModelName
    app.url_map.merge_slashes = False  # or a path with two of them would be answered with a page of HTML
    app.json = OrjsonProvider(app)
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        CLIENT_TIMEOUT=settings.client_timeout,
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,
        MAX_FORM_PARTS=settings.max_images + 1,  # one more, so that `images.py` is who counts them
    )
    inference = Inference(served, settings)
    extras = ExtrasOfNow(settings)
    for face in (native, description):
        app.register_blueprint(face.blueprint(inference, extras))
    for protocol in (tensorflow_serving, open_inference):
        app.register_blueprint(protocol.blueprint(inference))
    app.register_blueprint(page.blueprint())
    app.register_blueprint(openapi.blueprint())

    @app.get("/metrics")
    @openapi.operation({"type": "string"}, kind="text/plain")
    def exposition() -> Response:
        """What Prometheus collects, in its text format."""
        tally.add_up()
        return metrics.exposition(settings)

    observe(app, settings)
    _guard(app, settings)
    _translate_errors(app, settings)
    app.wsgi_app = refusing(app.wsgi_app, settings)  # type: ignore[assignment, method-assign]  # Flask's way
    if settings.origins:
        app.wsgi_app = cors.allow(app.wsgi_app, settings.origins)  # type: ignore[assignment, method-assign]
    return app


def _guard(app: Flask, settings: Settings) -> None:
    """Turn away requests that name no host, and predictions without a key, before anything of the body is read."""
    keys = Keys(settings)

    @app.before_request
    def guard() -> None:
        # RFC 9112, section 3.2 demands this answer, and nginx and Node give it; gunicorn leaves it to the application.
        if "HTTP_HOST" not in request.environ and request.environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise BadRequest("A request of HTTP/1.1 must have the header Host. Received: none.")
        if request.method != "POST":
            return  # probes and descriptions are for everybody
        if keys.needed and not keys.accept(key := _key()):
            came = "one that opens nothing" if key else "none"
            raise ForbiddenError(
                f"A key must come as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Received: {came}."
            )


def _key() -> str:
    authorization = request.headers.get("Authorization", "")
    kind, _, key = authorization.partition(" ")
    return key.strip() if kind.lower() == "bearer" else request.headers.get("X-API-Key", "")


def _translate_errors(app: Flask, settings: Settings) -> None:
    """Let every error leave as problem details: the domain's own, HTTP's, and those that nobody foresaw."""

    def domain_error(error: Exception) -> Response:
        status = STATUS[type(error)]
        if isinstance(error, OverloadedError):
            status = HTTPStatus(settings.overload_status)
        g.rejected = REJECTED.get(type(error))
        more = {"Retry-After": "1"} if status in RETRY else {}
        if status is HTTPStatus.UNAUTHORIZED:
            more = {"WWW-Authenticate": "Bearer"}
        return _problem(status, str(error), more)

    for kind in STATUS:
        app.register_error_handler(kind, domain_error)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        allow = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
        return _problem(HTTPStatus(error.code or 500), _detail(error, app, settings), allow)

    @app.errorhandler(ParseException)
    def broken_chunks(error: ParseException) -> Response:
        """Only now, because gunicorn reads a body in chunks no sooner than it is asked for."""
        return _problem(HTTPStatus.BAD_REQUEST, f"The body must come in well-formed chunks. Received: {error}.")

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        app.logger.exception("%s %r failed", request.method, request.path)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed here; its log says why.")


def _problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The error in its face's own form."""
    body, kind = problem(request.path, status, detail)
    return Response(body, status, headers, content_type=kind)


def _detail(error: HTTPException, app: Flask, settings: Settings) -> str:
    """One sentence of what was expected and what came."""
    match error:
        case NotFound():
            # The routes of the face that was meant, if any was.
            rules = [*app.url_map.iter_rules()]
            meant = [rule for rule in rules if rule.rule.split("/")[1] == request.path.split("/")[1]]
            routes = sorted(f"{' '.join(_methods(rule.methods))} {openapi.path(rule)}" for rule in meant or rules)
            return f"The path must be one of: {', '.join(routes)}. Received: {request.path:.80}."
        case MethodNotAllowed():
            methods = " or ".join(_methods(error.valid_methods))
            return f"{request.path} must be called with {methods}. Received: {request.method}."
        case RequestEntityTooLarge():
            length = request.content_length or 0
            size = f"{length} bytes" if length > settings.max_body_bytes else "more"
            return (
                f"A request may hold {settings.max_body_bytes} bytes and {settings.max_images} images. "
                f"Received: {size}."
            )
        case _:
            return error.description or ""


def _methods(methods: Any) -> list[str]:
    """The methods that do something, without those that come with them."""
    return sorted(set(methods or ()) - {"HEAD", "OPTIONS"})
