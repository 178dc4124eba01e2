"""What can go wrong with a request, free of HTTP: raised inside, translated once at the edge by `app.py`."""


class InvalidImageError(ValueError):
    """The request holds no image for the model; the message says what was expected and what came."""


class TooLargeError(ValueError):
    """The request holds more images, or more pixels, than the settings allow."""


class UnsupportedMediaTypeError(ValueError):
    """The body is of a type, or in a content coding, that is not served."""


class NotReadyError(RuntimeError):
    """No model is loaded and warm yet."""


class ForbiddenError(PermissionError):
    """The request brings no key that opens the door."""


class NotServedError(LookupError):
    """The path names a model, a version of it or a file beside it that is not served."""


class OverloadedError(RuntimeError):
    """As many requests wait as may; this one is refused at once."""


class DeadlineError(RuntimeError):
    """The request waited longer than it may, and was dropped unserved."""
