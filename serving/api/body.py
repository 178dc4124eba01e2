"""The raw body of a request, for every face: whole, or refused."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from serving.errors import UnsupportedMediaTypeError


def refuse_coding() -> None:
    """Raise UnsupportedMediaTypeError for a compressed body."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise UnsupportedMediaTypeError(f"The body must not be compressed. Received: Content-Encoding {coding}.")


def read() -> bytes:
    """The bytes of the body. Raises RequestEntityTooLarge for more of them than MAX_CONTENT_LENGTH."""
    body = request.get_data(cache=False)
    # Werkzeug refuses a body that announces too great a length, but silently cuts off one in chunks.
    if request.environ.get("wsgi.input_terminated") and request.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge
    return body
