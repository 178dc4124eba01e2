"""The body of a request, for every protocol: inflated, or refused."""

import zlib
from typing import Any

from serving.errors import InvalidImageError, TooLargeError, UnsupportedMediaTypeError

CODINGS = ("gzip", "deflate")
WBITS_ANY = 47  # zlib's word for "gzip or zlib, whichever the head says"
WBITS_RAW = -15  # deflate without a head, which some clients send under the same name


def read(environ: dict[str, Any], limit: int) -> bytes:
    """The bytes of the body, inflated if it came as gzip or deflate (RFC 9110, section 8.4.1).

    Args:
        environ: of a request whose body has arrived whole.
        limit: bytes that it may have, inflated.

    Raises:
        TooLargeError: more.
        InvalidImageError: the compressed data is broken.
        UnsupportedMediaTypeError: another coding.
    """
    content: bytes = environ["wsgi.input"].read()
    coding = environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
    if coding == "identity":
        return content
    if coding not in CODINGS:
        raise UnsupportedMediaTypeError(f"Content-Encoding must be gzip or deflate. Received: {coding:.40}.")
    return _inflate(content, coding, limit)


def _inflate(body: bytes, coding: str, limit: int) -> bytes:
    """Inflate no further than the limit: a bomb of 16 MiB would unfold to 16 GiB."""
    # A zlib head names method 8 and is a multiple of 31 (RFC 1950, section 2.2); what has none is raw deflate.
    raw = coding == "deflate" and (len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31)
    inflater = zlib.decompressobj(WBITS_RAW if raw else WBITS_ANY)
    try:
        content = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidImageError(f"The body must be {coding} data. Received: {len(body)} bytes ({error}).") from None
    if len(content) > limit:
        raise TooLargeError(f"A request may hold {limit} bytes, inflated. Received: more.")
    if not inflater.eof or inflater.unused_data:
        state = "followed by something else" if inflater.eof else "cut off"
        raise InvalidImageError(f"The body must be one whole {coding} stream. Received: one that is {state}.")
    return content
