"""Under steady load: swaps, pins, a corrupt version and the end, without a failed reply or a reset connection."""

import http.client
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.store import ModelStore
from tests.serving.workers import wait

pytestmark = pytest.mark.tensorflow

CLIENTS = 16
SWAPS = int(os.environ.get("SWAPS", "2"))  # more of them by hand
TIMEOUT = 300


@dataclass
class Load:
    """Clients that ask one after the other, half of them on fresh connections, until the port is closed to them."""

    body: bytes
    port: int = 0
    answers: dict[int, int] = field(default_factory=dict)  # version -> the class that it calls the image
    seen: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def client(self, fresh: bool) -> None:
        connection, new = self.connect(), True
        while connection:
            try:
                connection.request("POST", "/predict", self.body, {"Content-Type": "application/octet-stream"})
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, http.client.HTTPException) as error:
                # The kernel resets a connection that is made between the last accept and the end of the listener.
                late = new and self.ending.is_set() and isinstance(error, ConnectionError)
                (self.unmet if late else self.faults).append(f"{type(error).__name__}: {error}")
                return
            self.check(reply.status, content)
            if new := fresh or reply.will_close:
                connection.close()
                connection = self.connect()

    def connect(self) -> http.client.HTTPConnection | None:
        """A connection; None once the server is ending and takes no more of them, which is no fault."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.connect()
        except ConnectionError as error:  # refused, or reset in the moment in which the port was closed
            if not self.ending.is_set():
                self.faults.append(f"{type(error).__name__}: {error}")
            return None
        return connection

    def check(self, status: int, content: bytes) -> None:
        found = re.search(rb'"version":(\d+),.*?"index":(\d+),', content)
        if status != 200 or not found or self.answers[int(found[1])] != int(found[2]):
            self.faults.append(f"{status} {content[:200]!r}")
        else:
            self.seen[int(found[1])] += 1


def wait_for(load: Load, version: int) -> None:
    """Until this version answers."""
    before, end = load.seen[version], time.monotonic() + TIMEOUT
    while load.seen[version] <= before + CLIENTS:
        assert time.monotonic() < end, (version, load.seen, load.faults[:3])
        assert not load.faults, load.faults[:3]
        time.sleep(0.02)


@pytest.mark.slow
def test_no_reply_is_lost_or_wrong(
    tmp_path: Path,
    publish: Callable[..., Path],
    start: Callable[..., AbstractContextManager[Any]],
    card: Any,
    weights: NDArray[np.float32],
) -> None:
    store = ModelStore(tmp_path / "models", card.name)
    image = np.random.default_rng(0).integers(0, 256, 784, np.uint8)
    load = Load(image.tobytes())

    def push() -> int:
        # Each version calls the image by another class, so that no version's reply can pass for another's.
        version = len(load.answers) + 1
        shifted = np.roll(weights, version, axis=1)
        load.answers[version] = int((image @ shifted).argmax())
        publish(store.root, shifted, card)
        return version

    push()
    with start(store.root, WORKERS="2", DEADLINE_MS="300000") as server:
        wait(lambda: server.log.read_text().count("fashion_mnist version 1 is ready") == 2, server)
        load.port = server.port
        threads = [threading.Thread(target=load.client, args=(number % 2 == 0,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            wait_for(load, 1)
            for _ in range(SWAPS):
                wait_for(load, push())
            store.pin(1)
            wait_for(load, 1)
            corrupt = drop_in_a_corrupt_version(store, tmp_path)
            store.unpin()
            newest = max(load.answers)
            wait(lambda: server.log.read_text().count(f"version {corrupt} is not served") >= 2, server)
            wait_for(load, newest)  # the newest that is whole, in both workers
            wait(lambda: server.log.read_text().count(f"fashion_mnist version {newest} is ready") >= 4, server)
            wait_for(load, newest)
            assert load.seen[corrupt] == 0
        finally:
            load.ending.set()
            server.process.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join(TIMEOUT)
        assert server.process.wait(TIMEOUT) == 0
        log = server.log.read_text()
    assert load.faults == []
    assert len(load.unmet) < CLIENTS, load.unmet
    assert f"version {corrupt} is not served: {store.path(corrupt)} is damaged" in log
    assert "Traceback" not in log


def drop_in_a_corrupt_version(store: ModelStore, scratch: Path) -> int:
    """One whose weights are not those that its card has the hash of."""
    version = max(store.versions()) + 1
    shutil.copytree(store.path(1), scratch / "corrupt")
    (weights,) = (scratch / "corrupt" / "variables").glob("variables.data*")
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    (scratch / "corrupt").rename(store.path(version))
    return version
