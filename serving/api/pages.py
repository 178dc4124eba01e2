"""What people open in a browser: the page, the description of the API and Swagger UI; and what Prometheus collects.

Each file has an ETag, so that a browser asks again and gets an empty 304.
"""

import re
from functools import partial
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule

from serving.metrics import exposition
from serving.settings import Settings

SERVING = Path(__file__).parent.parent
STATIC = SERVING / "page" / "static"
SAMPLES = SERVING / "samples"
SWAGGER = Path(flask_swagger_ui.__file__).with_name("dist")
SWAGGER_FILES = {"swagger-ui.css", "swagger-ui-bundle.js"}  # of what the package brings
# Nothing from elsewhere, no inline script or style, no frame around it, no form that leaves.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI writes style attributes and pictures into its page; scripts stay ours and its own.
SWAGGER_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def blueprint(settings: Settings) -> Blueprint:
    """The routes GET /, /page/..., /docs, /openapi.json and /metrics."""
    pages = Blueprint("pages", __name__)

    files = {
        "/": partial(_page, STATIC, "index.html"),
        "/page/<name>": partial(_page, STATIC),  # scripts, style sheets and the icon
        "/page/samples/<name>": partial(_page, SAMPLES),
        "/docs": partial(_page, STATIC, "docs.html", policy=SWAGGER_POLICY),  # Swagger UI over the description
        "/openapi.json": partial(_page, Path(__file__).parent, "openapi.json"),  # a test holds it to the routes
    }
    for rule, view in files.items():
        pages.add_url_rule(rule, rule.replace(".", "_"), view)

    @pages.get("/docs/<name>")
    def swagger(name: str) -> Response:
        """A file of Swagger UI."""
        if name not in SWAGGER_FILES:
            raise NotFound
        return _page(SWAGGER, name, SWAGGER_POLICY)

    @pages.get("/metrics")
    def metrics() -> Response:
        """What Prometheus collects, in its text format."""
        return Response(exposition(settings.metrics_directory), content_type=CONTENT_TYPE_LATEST)

    return pages


def samples() -> list[str]:
    """Names of the sample images."""
    return sorted(path.name for path in SAMPLES.glob("*.png"))


def path(rule: Rule) -> str:
    """A route's path as OpenAPI has it: /models/{name}."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _page(directory: Path, name: str, policy: str = POLICY) -> Response:
    response = send_from_directory(directory, name)
    response.headers.update(HEADERS | {"Content-Security-Policy": policy})
    return response
