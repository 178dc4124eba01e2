"""A test client over the whole application of a worker, Flask behind its bridge, without a socket."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask
from werkzeug.test import Client

from serving.app import create_app
from serving.http.bridge import Bridge
from serving.model.models import Models
from serving.model.served import Served
from serving.settings import Settings


def wsgi(bridge: Bridge) -> Any:
    """The bridge as a WSGI application, for clients and tools that know no other."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = [
            (name.removeprefix("HTTP_").lower().replace("_", "-").encode(), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
        ]
        scope = {
            "type": "http",
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),
            "query_string": environ["QUERY_STRING"].encode("latin-1"),
            "headers": headers,
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "http_version": "1.1",
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        with ThreadPoolExecutor(1) as thread:  # since this one may have a loop already, as a browser's driver has
            thread.submit(asyncio.run, bridge(scope, receive, send)).result()
        start, *bodies = sent
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        start_response(f"{start['status']} -", named)
        return [message["body"] for message in bodies]

    return application


class BridgeClient(Client):
    """A client like Flask's own; `application` is the Flask application behind the bridge."""

    def __init__(self, app: Flask, bridge: Bridge) -> None:
        super().__init__(wsgi(bridge))
        self.flask = app
        self.bridge = bridge


def bridged(served: Served, settings: Settings | None = None) -> BridgeClient:
    """A client of what a worker serves."""
    settings = settings or Settings()
    models = Models(settings, served)
    app = create_app(models, settings)
    return BridgeClient(app, Bridge(app, models, settings))
