"""Request bodies: read in the event loop, within limits of bytes and time, or left unread."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from serving.errors import OverloadedError, SlowClientError, TooLargeError
from serving.http.environ import Environ
from serving.settings import Settings

Receive = Callable[[], Awaitable[dict[str, Any]]]

READ_BUDGET = 8  # bodies of the largest size that a worker may be reading at one time
LINGER_SECONDS = 2.0  # for a client to read its answer before the connection is closed; a reset could lose it


class ClientGoneError(Exception):
    """The client closed the connection within its request."""


class Bodies:
    """The request bodies that one worker is reading."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_body_bytes
        self._seconds = settings.client_timeout
        self._most = f"{settings.max_body_bytes} bytes and {settings.max_images} images"
        self._reading = 0  # bytes

    async def read(self, environ: Environ, receive: Receive, whole: bool) -> None:
        """Put the body into `environ`, or raise the error that says why not; `whole` is one that has arrived."""
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(None if whole else self._seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    chunk, more = message["body"], message["more_body"]
                    chunks.append(chunk)
                    size += len(chunk)
                    self._reading += len(chunk)
                    if size > self._limit:
                        raise self._too_large("more")
                    # A complete body takes no more memory, so slow clients must not cause its refusal.
                    if more and self._reading > READ_BUDGET * self._limit:
                        raise overloaded()
        except TimeoutError:
            raise SlowClientError(
                f"The body must arrive in time, within {self._seconds} s. Received: {size} bytes of it."
            ) from None
        finally:
            self._reading -= size
        environ["wsgi.input"] = io.BytesIO(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        environ["CONTENT_LENGTH"] = str(size)
        environ.pop("HTTP_TRANSFER_ENCODING", None)

    def check_length(self, environ: Environ) -> None:
        """Refuse a body whose Content-Length is too large."""
        if (length := int(environ.get("CONTENT_LENGTH", 0))) > self._limit:
            raise self._too_large(f"{length} bytes")

    def may_skip(self, environ: Environ) -> bool:
        """Whether uvicorn may drop the rest of an unread body and keep the connection.

        A client that awaits 100 Continue will send no body, which the parser would take its next request for.
        """
        unbounded = "HTTP_TRANSFER_ENCODING" in environ or "HTTP_EXPECT" in environ
        return not unbounded and int(environ.get("CONTENT_LENGTH", 0)) <= self._limit

    def _too_large(self, came: str) -> TooLargeError:
        return TooLargeError(f"A request may hold {self._most}. Received: {came}.")


def overloaded() -> OverloadedError:
    """The refusal of a request that would have to wait for too long."""
    return OverloadedError("The server has more requests waiting than it can answer in time. Try again.")


async def linger(receive: Receive) -> None:
    """Read on for a moment: a connection that is closed on unread bytes is reset, and the answer in it may be lost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
