"""The log of requests tells of those that were refused, too: each in one line, whatever its path holds."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import requests

DEADLINE = 300.0  # seconds
IMAGES = {"images": [[[0] * 28] * 28] * 256}  # enough work that others come meanwhile


def flood(server: Any, path: str) -> dict[str, int]:
    """Status by request id of many requests at once, every other one to `path`, until one of these was refused."""
    body, statuses, end = json.dumps(IMAGES), dict[str, int](), time.monotonic() + DEADLINE
    refused = []

    def ask(number: int) -> None:
        url = f"{server.url}{path if number % 2 else '/predict'}"
        headers = {"X-Request-ID": f"id-{len(statuses)}-{number}", "Content-Type": "application/json"}
        reply = requests.post(url, data=body, headers=headers, timeout=DEADLINE)
        statuses[headers["X-Request-ID"]] = reply.status_code
        if number % 2 and reply.status_code == 503:
            refused.append(number)

    while not refused:
        assert time.monotonic() < end, statuses
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(32)))
    return statuses


def test_requests_that_are_refused_are_logged_with_their_id(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", THREADS="1", MAX_QUEUE="1", ACCESS_LOG="1") as server:
        server.wait_until_ready()
        statuses = flood(server, "/predict")
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    logged = {line["request_id"]: line["code"] for line in lines if line["message"] == "POST /predict"}
    assert logged == statuses


def test_the_path_of_a_refused_request_cannot_forge_a_line(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", THREADS="1", MAX_QUEUE="1", ACCESS_LOG="1", LOG_FORMAT="text") as server:
        server.wait_until_ready()
        statuses = flood(server, "/%0a[ERROR] forged")
        lines = server.log.read_text().splitlines()
    assert sum("POST /%0A%5BERROR%5D%20forged " in line for line in lines) == len(statuses) / 2
    assert not [line for line in lines if line.startswith("[ERROR]")]


def test_a_line_for_people_says_what_was_answered_to_which_request(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", ACCESS_LOG="1", LOG_FORMAT="text") as server:
        server.wait_until_ready()
        requests.get(f"{server.url}/nowhere", headers={"X-Request-ID": "mine"}, timeout=DEADLINE)
        (line,) = (line for line in server.log.read_text().splitlines() if "/nowhere" in line)
    assert re.search(r"GET /nowhere request_id=mine protocol=other code=404 seconds=[0-9.e-]+$", line)
