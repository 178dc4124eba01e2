"""What OpenAPI 3.1 says of a route, noted beside the route, gathered by apispec, and tried out in Swagger UI.

`/openapi.json` holds every route of every face; `/docs` serves Swagger UI from the files of its package.
"""

import inspect
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import flask_swagger_ui
from apispec import APISpec
from flask import Blueprint, Flask, Response, current_app, jsonify, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule

from serving.api import schemas
from serving.page import routes as page

PROJECT = "cnn-model-service"
SWAGGER = {"swagger-ui.css", "swagger-ui-bundle.js"}  # of what the package brings
# Swagger UI writes style attributes and pictures into its page; scripts stay ours and its own.
POLICY = page.POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
HIDDEN = {"page", "openapi"}  # blueprints that are not for programs

View = TypeVar("View", bound=Callable[..., Any])
Json = dict[str, Any]


def operation(
    reply: Json | str,
    body: Json | None = None,
    query: tuple[Json, ...] = (),
    kind: str = "application/json",
    other_kinds: tuple[str, ...] = (),
) -> Callable[[View], View]:
    """Note beside a route what it takes and gives; the summary is the first line of the view's docstring.

    Args:
        reply: schema of the reply with status 200, or the name of one in `schemas.COMPONENTS`.
        body: media type -> schema of the request.
        query: OpenAPI's parameter objects.
        kind: media type of the reply.
        other_kinds: media types that the reply has on request, which no schema describes.
    """

    def note(view: View) -> View:
        schema = {"$ref": f"#/components/schemas/{reply}"} if isinstance(reply, str) else reply
        content = (
            {"content": {sent: {"schema": each} for sent, each in body.items()}, "required": True} if body else None
        )
        replies: Json = {kind: {"schema": schema}} | {other: {} for other in other_kinds}
        vars(view)["operation"] = {
            **({"requestBody": content} if content else {}),
            "parameters": list(query),
            "responses": {"200": {"description": "As asked.", "content": replies}},
        }
        return view

    return note


def blueprint() -> Blueprint:
    """The routes GET /openapi.json, GET /docs and what the latter loads."""
    openapi = Blueprint("openapi", __name__)
    swagger = Path(flask_swagger_ui.__file__).with_name("dist")

    @openapi.get("/openapi.json")
    def description() -> Response:
        """This description."""
        return jsonify(gather(current_app))

    @openapi.get("/docs")
    def docs() -> Response:
        """Swagger UI over this description."""
        return send_from_directory(page.STATIC, "docs.html")

    @openapi.get("/docs/<name>")
    def file(name: str) -> Response:
        """A file of Swagger UI."""
        if name not in SWAGGER:
            raise NotFound
        return send_from_directory(swagger, name)

    @openapi.after_request
    def guard(response: Response) -> Response:
        response.headers.update(page.HEADERS | {"Content-Security-Policy": POLICY})
        return response

    return openapi


def gather(app: Flask) -> Json:
    """The whole description: every route but those of the page, each with what was noted beside it."""
    spec = APISpec(
        title=PROJECT,
        version=version(PROJECT),
        openapi_version="3.1.0",
        info={"description": schemas.ABOUT},
        servers=[{"url": "./"}],  # of this description, wherever a proxy shows it
    )
    for name, schema in schemas.COMPONENTS.items():
        spec.components.schema(name, schema)
    for name, scheme in schemas.SECURITY.items():
        spec.components.security_scheme(name, scheme)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        face = rule.endpoint.partition(".")[0]
        if face not in HIDDEN:
            spec.path(path(rule), operations=_operations(rule, face, app.view_functions[rule.endpoint]))
    return spec.to_dict()


def path(rule: Rule) -> str:
    """A route's path as OpenAPI has it: /models/{name}."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _operations(rule: Rule, face: str, view: Callable[..., Any]) -> Json:
    noted = vars(view)["operation"]
    text = inspect.getdoc(view) or ""
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in sorted(rule.arguments)
    ]
    problem = "Error" if f"{rule.rule}/".startswith(("/v1/", "/v2/")) else "Problem"
    kind = "application/json" if problem == "Error" else "application/problem+json"
    refused = {"description": "What was expected and what came.", "content": {kind: {"schema": problem}}}
    operations = {}
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        operations[method.lower()] = {
            "tags": [face],
            "summary": text.partition("\n")[0],
            **noted,
            "parameters": [*in_path, *noted["parameters"]],
            "responses": {**noted["responses"], "default": refused},
            **({"security": [{}, *({name: []} for name in schemas.SECURITY)]} if method == "POST" else {}),
        }
    return operations
