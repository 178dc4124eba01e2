"""The Flask application: its protocols and pages, and the one place where errors become replies."""

import io
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter, MapAdapter

from registry.errors import RegistryError
from serving.api import description, native, open_inference, pages, tensorflow_serving
from serving.api.replies import Reply
from serving.errors import ServiceError, problem
from serving.model.models import Models
from serving.observe import exchange_of
from serving.settings import Settings


class MemoryRequest(Request):
    """A request whose uploads stay in memory: its body is limited, and no image touches the disk."""

    def make_form_data_parser(self) -> FormDataParser:
        """One that says what is wrong with a form, instead of finding nothing in it."""
        parser = super().make_form_data_parser()
        parser.stream_factory = lambda *_args, **_options: io.BytesIO()
        parser.silent = False
        return parser


class NoSessions(SessionInterface):
    """No cookie is read or written."""

    session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self.session


class App(Flask):
    """Flask without what this service does not use, but would pay for with each request."""

    request_class = MemoryRequest
    session_interface = NoSessions()

    def full_dispatch_request(self) -> Any:
        """Call the view, and nothing before and after it, unless tracing has put something there."""
        if self.before_request_funcs or self.after_request_funcs:
            return super().full_dispatch_request()
        try:
            found = self.dispatch_request()
        except Exception as error:
            found = self.handle_user_exception(error)
        return found if isinstance(found, Reply) else self.make_response(found)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view is a coroutine."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match the path alone: no route depends on a host, and no URL is built from one."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "localhost", "/", "", "http", request.path, request.method)


class ModelName(BaseConverter):
    """A model's name or version in a path: without a colon, behind which TensorFlow Serving has the verb."""

    regex = "[^/:]+"


def create_app(models: Models, settings: Settings) -> Flask:
    """The application over `models`, whose places may still be empty.

    Each request's environ must hold an `Exchange` (see `serving.observe`), which `http/bridge.py` puts there.
    """
    app = App(__name__, static_folder=None)
    app.url_map.converters["model"] = ModelName
    app.url_map.merge_slashes = False  # or a path with two of them would be answered with a page of HTML
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider
    app.config.update(
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,
        MAX_FORM_PARTS=settings.max_images + 1,  # one more, so that `images/files.py` is who counts them
    )
    for api in (native, description, tensorflow_serving, open_inference):
        app.register_blueprint(api.blueprint(models, settings))
    app.register_blueprint(pages.blueprint(settings))
    _translate_errors(app, settings)
    return app


def _translate_errors(app: Flask, settings: Settings) -> None:
    """Report every error in its protocol's form: the domain's own, HTTP's, and unexpected ones."""

    @app.errorhandler(Exception)
    def reply(error: Exception) -> Response:
        headers: dict[str, str] = {}
        match error:
            case ServiceError():
                exchange_of(request.environ).rejected = error.rejected
                status, detail, headers = error.status, str(error), error.headers
            case RegistryError():
                status, detail, headers = HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"}
            case HTTPException():
                status, detail = HTTPStatus(error.code or 500), _detail(error, app, settings)
                if isinstance(error, MethodNotAllowed):
                    headers = {"Allow": ", ".join(error.valid_methods or ())}
            case _:
                app.logger.exception("%s %r failed", request.method, request.path)
                status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed here; its log says why."
        body, kind = problem(request.path, status, detail)
        return Response(body, status, headers, content_type=kind)


def _detail(error: HTTPException, app: Flask, settings: Settings) -> str:
    """One sentence of what was expected and what came."""
    match error:
        case NotFound():
            # The routes of the protocol that was meant, if any was.
            rules = [*app.url_map.iter_rules()]
            meant = [rule for rule in rules if rule.rule.split("/")[1] == request.path.split("/")[1]]
            routes = sorted(f"{' '.join(_methods(rule.methods))} {pages.path(rule)}" for rule in meant or rules)
            return f"The path must be one of: {', '.join(routes)}. Received: {request.path:.80}."
        case MethodNotAllowed():
            methods = " or ".join(_methods(error.valid_methods))
            return f"{request.path} must be called with {methods}. Received: {request.method}."
        case RequestEntityTooLarge():
            most = f"{settings.max_body_bytes} bytes and {settings.max_images} images"
            return f"A request may hold {most}. Received: more."
        case _:
            return error.description or ""


def _methods(methods: Any) -> list[str]:
    """The methods that do something, without those that come with them."""
    return sorted(set(methods or ()) - {"HEAD", "OPTIONS"})
