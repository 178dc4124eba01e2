"""The WSGI environ (PEP 3333) of an ASGI request."""

import io
import sys
from functools import lru_cache
from typing import Any

Environ = dict[str, Any]

_CONSTANT = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def wsgi_environ(scope: dict[str, Any]) -> Environ:
    """The environ of a request whose body has not been read."""
    host, port = scope["server"] or ("", 0)
    environ: Environ = _CONSTANT | {
        "REQUEST_METHOD": scope["method"],
        # WSGI passes bytes as Latin-1 text.
        "PATH_INFO": scope["path"] if scope["path"].isascii() else scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
    }
    for raw_name, raw_value in scope["headers"]:
        if name := _variable(raw_name):
            value = raw_value.decode("latin-1").strip(" \t")  # RFC 9110, section 5.5; the parser keeps what follows
            environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


@lru_cache(256)
def _variable(raw_name: bytes) -> str | None:
    """The environ's name of a header."""
    if b"_" in raw_name:
        return None  # nobody sends one, but to pass for the header with a dash
    name = raw_name.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
