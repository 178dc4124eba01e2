"""What time and scarcity do to a real service: tens of thousands of requests on one worker, and a single core."""

import http.client
import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import requests

import serving
from tests.serving.workers import wait

CLIENTS = 8
JSON, RAW = {"Content-Type": "application/json"}, {"Content-Type": "application/octet-stream"}
PNG = (Path(serving.__file__).parent / "samples" / "ankle-boot.png").read_bytes()
IMAGE = [[7] * 28] * 28
TENSOR = {"name": "images", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": IMAGE}
# What clients send, good and bad: path, body (None for GET) and headers.
REQUESTS: list[tuple[str, bytes | None, dict[str, str]]] = [
    ("/predict", bytes(784), RAW),
    ("/predict", bytes(784 * 5), RAW),
    ("/predict", PNG, {}),
    ("/predict", json.dumps({"images": [IMAGE] * 3}).encode(), JSON),
    ("/predict", b"{", JSON),
    ("/predict", PNG[:-50], {"Content-Type": "image/png"}),
    ("/v1/models/fashion_mnist:predict", json.dumps({"instances": [IMAGE]}).encode(), JSON),
    ("/v2/models/fashion_mnist/infer", json.dumps({"inputs": [TENSOR]}).encode(), JSON),
    ("/readyz", None, {}),
    ("/metrics", None, {}),
    ("/nowhere", b"x" * 10_000, RAW),
]


def send(port: int, count: int) -> Counter[int]:
    """Send so many requests from several clients, each tenth of them on a fresh connection."""

    def client(_: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for number, (path, body, headers) in enumerate(islice(cycle(REQUESTS), count // CLIENTS)):
            connection.request("GET" if body is None else "POST", path, body, headers)
            reply = connection.getresponse()
            reply.read()
            seen[reply.status] += 1
            if number % 10 == 9:
                connection.close()
        connection.close()
        return seen

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(client, range(CLIENTS)), Counter())


def held(pid: int) -> tuple[float, int, int]:
    """MiB of memory of its own, open descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return memory / 1024, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("runtime", ["litert", "tensorflow"])
def test_fifty_thousand_requests_leave_memory_and_descriptors_as_they_were(
    models: Path, start: Callable[..., AbstractContextManager[Any]], runtime: str
) -> None:
    with start(models, RUNTIME=runtime) as server:
        server.wait_until_ready()
        (worker,) = server.workers()
        send(server.port, 10_000)  # until caches and pools have their size
        before = held(worker)
        statuses = send(server.port, 40_000)
        after = held(worker)
    assert set(statuses) == {200, 400, 404}
    assert after[0] < before[0] + 8, (before, after)
    assert after[1] <= before[1] + CLIENTS, (before, after)
    assert after[2] <= before[2] + 16, (before, after)  # THREADS, which start one by one


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_single_core_is_enough(models: Path, start: Callable[..., AbstractContextManager[Any]], workers: str) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # which the service inherits
    try:
        with start(models, RUNTIME="litert", WORKERS=workers) as server:
            wait(lambda: server.log.read_text().count("is ready after") == int(workers), server)
            assert set(send(server.port, 400)) == {200, 400, 404}
            assert requests.get(f"{server.url}/healthz", timeout=300).ok
            server.process.terminate()
            assert server.process.wait(300) == 0
    finally:
        os.sched_setaffinity(0, cores)
