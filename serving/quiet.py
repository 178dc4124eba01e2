"""TensorFlow's import without its remarks on absent GPUs, which it prints before it reads its own log level."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REMARKS = (b"absl::InitializeLog()", b"Could not find cuda drivers", b"failed call to cuInit")


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
        os.dup2(stderr, 2)  # closes the pipe's last writing end, which ends the relay
        relay.join()
        os.close(stderr)


def _relay(source: int, target: int) -> None:
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not any(remark in line for remark in REMARKS):
                os.write(target, line)
