"""Whether any worker of this service was ready yet: one byte in memory that all workers share.

gunicorn's master imports this module before it forks. A worker that finds nothing to serve ends the service while the
byte is 0, because then somebody is starting it and should see the reason; later it waits for a version instead.
"""

import mmap

_ready = mmap.mmap(-1, 1)


def note_ready() -> None:
    _ready[0] = 1


def was_ready() -> bool:
    return _ready[0] == 1
