"""What the registry cannot do, said in one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "make it writable or use another directory",
    errno.EACCES: "change its permissions or use another directory",
}


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the message is one sentence and says how to fix it."""


@contextmanager
def refusals(what: str, where: Path) -> Iterator[None]:
    """Translate what the disk refuses: "Cannot publish in DIR: No space left; free some space."."""
    try:
        yield
    except OSError as error:
        culprit = f" ({error.filename})" if error.filename else ""
        remedy = f"; {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else ""
        raise RegistryError(f"Cannot {what} in {where}: {error.strerror}{culprit}{remedy}.") from error
