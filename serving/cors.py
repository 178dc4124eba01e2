"""Cross-origin resource sharing: which other sites' pages may call the service, and read its refusals too.

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from typing import Any

ANY = "*"
MAX_AGE = 7200  # seconds for which a browser need not ask again; Chromium keeps no answer for longer
EXPOSED = "Inference-Header-Content-Length, Retry-After, X-Request-ID"  # headers of replies that a page may read


def is_preflight(environ: dict[str, Any]) -> bool:
    """Whether a browser asks what a page may do before it lets the page do it."""
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def headers(origins: tuple[str, ...], environ: dict[str, Any]) -> dict[bytes, bytes]:
    """The headers by which pages of these `origins` may read the reply. Cookies, which mean nothing here, stay away."""
    origin = ANY if ANY in origins else environ.get("HTTP_ORIGIN", "")
    found = {} if origin == ANY else {"vary": "Origin"}
    if origin and origin in origins:
        found |= {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}
        if is_preflight(environ):
            found |= {
                "access-control-allow-methods": "GET, POST",
                "access-control-allow-headers": environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""),
                "access-control-max-age": str(MAX_AGE),
            }
    return {name.encode(): value.encode("latin-1") for name, value in found.items()}
