"""The raw body of a request, for every face: whole and inflated, or refused."""

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from serving import arrival
from serving.errors import InvalidImageError, UnsupportedMediaTypeError

CODINGS = ("gzip", "deflate")
_PAUSED = "The body must arrive in time and without long breaks. Received: a part of it."
WBITS_ANY = 47  # zlib's word for "gzip or zlib, whichever the head says"
WBITS_RAW = -15  # deflate without a head, which some clients send under the same name


def refuse_coding() -> None:
    """Raise UnsupportedMediaTypeError for a compressed body."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedMediaTypeError(f"A form must not be compressed. Received: Content-Encoding {coding:.40}.")


def read() -> bytes:
    """The bytes of the body, inflated if it came as gzip or deflate (RFC 9110, section 8.4.1).

    Raises:
        RequestEntityTooLarge: more than MAX_CONTENT_LENGTH bytes, before or after inflating.
        RequestTimeout: the client stopped sending, or took longer than it may.
        InvalidImageError: the client cut it off, or the compressed data is broken.
        UnsupportedMediaTypeError: another coding.
    """
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding not in ("identity", *CODINGS):
        raise UnsupportedMediaTypeError(f"Content-Encoding must be gzip or deflate. Received: {coding:.40}.")
    body = _raw()
    return body if coding == "identity" else _inflate(body, coding)


def form() -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """The fields and the files of a form.

    Raises:
        RequestEntityTooLarge, RequestTimeout: as `read`.
        InvalidImageError: it is broken or cut off.
    """
    try:
        with _sending():
            return request.form, request.files
    except ValueError as error:
        raise InvalidImageError(f"The form must be whole multipart/form-data. Received: {error}.") from None
    except ClientDisconnected:
        raise RequestTimeout(_PAUSED) from None


@contextmanager
def _sending() -> Iterator[None]:
    """What happens inside is the client's time, not that of the service."""
    begin = time.monotonic()
    try:
        yield
    finally:
        arrival.current.sending = time.monotonic() - begin


def _raw() -> bytes:
    try:
        with _sending():
            body = request.get_data(cache=False)
        # Werkzeug refuses a body that announces too great a length, but silently cuts off one in chunks.
        if request.environ.get("wsgi.input_terminated") and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    except ClientDisconnected:
        # Or was cut off: the worker lets no socket keep a thread waiting for ever.
        raise RequestTimeout(_PAUSED) from None
    if len(body) < (length := request.content_length or 0):
        if time.monotonic() - arrival.moment() > current_app.config["CLIENT_TIMEOUT"]:
            raise RequestTimeout(_PAUSED)
        raise InvalidImageError(f"The body must have its {length} bytes. Received: {len(body)} bytes.")
    return body


def _inflate(body: bytes, coding: str) -> bytes:
    """Inflate no further than the limit: a bomb of 16 MiB would unfold to 16 GiB."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    # A zlib head names method 8 and is a multiple of 31 (RFC 1950, section 2.2); what has none is raw deflate.
    raw = coding == "deflate" and (len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31)
    inflater = zlib.decompressobj(WBITS_RAW if raw else WBITS_ANY)
    try:
        content = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidImageError(f"The body must be {coding} data. Received: {len(body)} bytes ({error}).") from None
    if len(content) > limit:
        raise RequestEntityTooLarge
    if not inflater.eof or inflater.unused_data:
        state = "followed by something else" if inflater.eof else "cut off"
        raise InvalidImageError(f"The body must be one whole {coding} stream. Received: one that is {state}.")
    return content
