"""What can go wrong with a request, each kind with its HTTP status; and the form in which each protocol reports it."""

from http import HTTPStatus

import orjson


class ServiceError(Exception):
    """An error that is reported to the client: its text is one sentence of what was expected and what came.

    Attributes:
        status: of the reply.
        rejected: the reason by which metrics count a request that was not served in time.
        headers: further headers of the reply.
    """

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    rejected: str | None = None
    headers: dict[str, str] = {}  # noqa: RUF012  # constants of the kind, never changed


class MalformedRequestError(ServiceError):
    """The request is no HTTP/1.1."""

    status = HTTPStatus.BAD_REQUEST


class InvalidImageError(ServiceError):
    """The request holds no image for the model."""

    status = HTTPStatus.BAD_REQUEST


class ForbiddenError(ServiceError):
    """The request brings no accepted key."""

    status = HTTPStatus.UNAUTHORIZED
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012


class NotServedError(ServiceError):
    """The path names a model, a version or a file of it that is not served."""

    status = HTTPStatus.NOT_FOUND


class SlowClientError(ServiceError):
    """The client did not send the whole body in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class TooLargeError(ServiceError):
    """The request holds more bytes, images or pixels than the settings allow."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaTypeError(ServiceError):
    """The body is of a type, or in a content coding, that is not served."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NotReadyError(ServiceError):
    """No model is loaded and warm yet."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": "1"}  # noqa: RUF012


class OverloadedError(ServiceError):
    """As many requests wait as may; this one is refused at once. OVERLOAD_STATUS may replace the status."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    rejected = "overload"
    headers = {"Retry-After": "1"}  # noqa: RUF012


class DeadlineError(ServiceError):
    """The request waited longer than it may, and was dropped unserved."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    rejected = "deadline"


def problem(path: str, status: HTTPStatus, detail: str) -> tuple[bytes, str]:
    """The body of an error reply, and its media type.

    {"error": detail} on /v1 and /v2, as TensorFlow Serving and the Open Inference Protocol prescribe; elsewhere problem
    details (RFC 9457), whose type about:blank says that the status tells the kind of problem.

    Args:
        path: of the request, or empty when it could not be read.
        status: of the reply.
        detail: one sentence of what was expected and what came.
    """
    if f"{path}/".startswith(("/v1/", "/v2/")):
        return orjson.dumps({"error": detail}), "application/json"  # kserve's client reads errors from this type alone
    members = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return orjson.dumps(members), "application/problem+json"
