"""An error in the form that its face prescribes, whoever finds it: Flask, the worker before it, or gunicorn."""

from http import HTTPStatus

import orjson


def problem(path: str, status: HTTPStatus, detail: str) -> tuple[bytes, str]:
    """The body of a reply, and its media type.

    {"error": detail} on /v1 and /v2, elsewhere problem details (RFC 9457), whose type about:blank says that the
    status tells the kind of problem.

    Args:
        path: of the request, or empty when it could not be read.
        status: of the reply.
        detail: one sentence of what was expected and what came.
    """
    if f"{path}/".startswith(("/v1/", "/v2/")):
        return orjson.dumps({"error": detail}), "application/json"  # or kserve's client would not read it
    members = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return orjson.dumps(members), "application/problem+json"
