"""TensorFlow's import, without what serving has no use for: Keras and JAX, and its remarks on absent GPUs."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SPARED = ("keras", "jax")
# Printed before TensorFlow reads its own log level.
REMARKS = (b"absl::InitializeLog()", b"Could not find cuda drivers", b"failed call to cuInit")


@contextmanager
def without_companions() -> Iterator[None]:
    """Lets TensorFlow find neither Keras nor JAX, which it imports where they are and goes without where not.

    They cost a worker 210 MB of memory, half of it its own, and a third of the time to import.
    """
    spared = [name for name in SPARED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(spared))  # type: ignore[arg-type]  # None there is "no such module"
    try:
        yield
    finally:
        for name in spared:
            del sys.modules[name]


@contextmanager
def without_remarks() -> Iterator[None]:
    """Passes on what the process writes to stderr meanwhile, line by line, but for those remarks."""
    stderr = os.dup(2)
    source, target = os.pipe()
    os.dup2(target, 2)
    os.close(target)
    relay = threading.Thread(target=_relay, args=(source, stderr))
    relay.start()
    try:
        yield
    finally:
        os.dup2(stderr, 2)  # closes the pipe's last writing end, if nothing was forked meanwhile, and ends the relay
        relay.join()
        os.close(stderr)


def _relay(source: int, target: int) -> None:
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not any(remark in line for remark in REMARKS):
                os.write(target, line)
