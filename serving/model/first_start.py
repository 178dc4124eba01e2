"""What this service serves, and whether any worker was ready yet: memory that all workers share.

gunicorn's master imports this module before it forks. The first worker that finds models notes which, so that all
workers serve the same, those too that start after another model was pushed. A worker that finds nothing to serve ends
the service while none was ready, because then somebody is starting it and should see the reason; later it waits for a
version instead.
"""

import mmap
from collections.abc import Sequence

from registry.names import LARGEST

_ready = mmap.mmap(-1, 1)
_names = mmap.mmap(-1, 64 * (LARGEST + 1))  # as many as MAX_MODELS may be, each behind a line break


def note_ready() -> None:
    _ready[0] = 1


def was_ready() -> bool:
    return _ready[0] == 1


def note_names(names: Sequence[str]) -> Sequence[str]:
    """Note the names of the models that are served, the default one first. Returns them."""
    text = "\n".join(names).encode()
    _names[: len(text)] = text
    return names


def noted_names() -> tuple[str, ...]:
    """What a worker noted first; empty where none has."""
    return tuple(_names[:].rstrip(b"\0").decode().splitlines())
