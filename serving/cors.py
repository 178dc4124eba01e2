"""Cross-origin resource sharing: which other sites' pages may call the service (https://fetch.spec.whatwg.org/#http-cors-protocol).

Around the whole application, so that a page can read refusals and errors too.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Application = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]

ANY = "*"
MAX_AGE = 7200  # seconds for which a browser need not ask again; Chromium keeps no answer for longer
EXPOSED = "Inference-Header-Content-Length, Retry-After, X-Request-ID"  # headers of replies that a page may read


def allow(application: Application, origins: tuple[str, ...]) -> Application:
    """`application`, whose replies pages of these `origins` may read. Cookies, which mean nothing here, stay away."""

    def wsgi_app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        origin = ANY if ANY in origins else environ.get("HTTP_ORIGIN", "")
        headers = [] if origin == ANY else [("Vary", "Origin")]
        if origin not in origins:
            origin = ""
        headers += [("Access-Control-Allow-Origin", origin)] if origin else []

        if origin and environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            allowed = {"Allow-Methods": "GET, POST", "Allow-Headers": asked, "Max-Age": str(MAX_AGE)}
            headers += [(f"Access-Control-{name}", value) for name, value in allowed.items()]
            start_response("204 No Content", headers)
            return []

        def start(status: str, own: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*own, *headers, ("Access-Control-Expose-Headers", EXPOSED)], *more)

        return application(environ, start)

    return wsgi_app
