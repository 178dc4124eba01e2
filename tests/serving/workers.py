"""What tests do to the workers of a real server, and ask of them afterwards."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import requests

DEADLINE = 300.0  # seconds; TensorFlow and XLA take more than a minute to start beside much other work
RAW = {"Content-Type": "application/octet-stream"}


def wait(until: Callable[[], Any], server: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not until():
        assert server.process.poll() is None, f"the service ended: {server.log.read_text()}"
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)


def replace_a_worker(server: Any) -> None:
    """Kill one as the kernel does when memory is short, and wait for the one that comes instead."""
    before = set(server.workers())
    os.kill(min(before), signal.SIGKILL)
    wait(lambda: len(set(server.workers()) - before) == 1, server)


def answers(server: Any) -> int:
    """The version that answers a prediction."""
    reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=DEADLINE)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["version"])
