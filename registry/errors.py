"""What the registry cannot do, said in one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "make it writable or use another directory",
    errno.EACCES: "change its permissions or use another directory",
}


class RegistryError(RuntimeError):
    """What was asked of the registry cannot be done; the message is one sentence and says how to mend it."""


@contextmanager
def refusals(what: str, where: Path) -> Iterator[None]:
    """Translate what the disk refuses: "Cannot publish in DIR: No space left; free some space."."""
    try:
        yield
    except OSError as error:
        culprit = f" ({error.filename})" if error.filename else ""
        mend = f"; {_MENDS[error.errno]}" if error.errno in _MENDS else ""
        raise RegistryError(f"Cannot {what} in {where}: {error.strerror}{culprit}{mend}.") from error
