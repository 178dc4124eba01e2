"""The service as a process: how it starts and ends, and what becomes of its signals and its streams."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

import serving

pytestmark = pytest.mark.slow  # starts several servers or a browser

TIMEOUT = 300
RAW = {"Content-Type": "application/octet-stream"}
SAMPLE = Path(serving.__file__).parent / "samples" / "ankle-boot.png"


def test_it_is_alive_and_not_ready_until_the_model_is_warm_and_then_serves_to_the_end(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    sample = SAMPLE.read_bytes()
    with start(models, THREADS="2") as server:
        alive = requests.get(f"{server.url}/healthz", timeout=TIMEOUT)
        assert alive.json() == {"status": "alive"}
        statuses = server.wait_until_ready()
        assert set(statuses) == {503, 200}

        # A request in flight: its head and half of its body are there when SIGTERM comes.
        port = server.port
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
            head = f"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: {len(sample)}\r\n\r\n"
            client.sendall(head.encode() + sample[:100])
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            client.sendall(sample[100:])
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b'"version":1' in reply
        assert server.process.wait(TIMEOUT) == 0
        log = server.log.read_text()
        assert "fashion_mnist version 1 is ready after" in log
        assert "Traceback" not in log


@pytest.mark.tensorflow
def test_a_model_that_does_not_load_ends_the_service_with_the_reason(
    tmp_path: Path,
    publish: Callable[..., Path],
    start: Callable[..., AbstractContextManager[Any]],
    weights: NDArray[np.float32],
    card: Any,
) -> None:
    directory = publish(tmp_path / "models", weights, card)
    (directory / "variables" / "variables.index").write_bytes(b"")
    with start(tmp_path / "models") as server:
        assert server.process.wait(TIMEOUT) == 3
        log = server.log.read_text()
    assert f"cannot serve: {directory} is damaged: version 1: variables/variables.index has changed" in log
    assert "Traceback" not in log


@pytest.mark.tensorflow
def test_with_wait_for_model_it_waits_and_serves_what_comes(
    tmp_path: Path,
    publish: Callable[..., Path],
    start: Callable[..., AbstractContextManager[Any]],
    weights: NDArray[np.float32],
    card: Any,
) -> None:
    with start(tmp_path / "models", WAIT_FOR_MODEL="1") as server:
        assert server.banner.startswith(f"Waiting for a model in {tmp_path / 'models'} at http://")
        assert requests.get(f"{server.url}/readyz", timeout=TIMEOUT).status_code == 503
        publish(tmp_path / "models", weights, card)
        server.wait_until_ready()
        assert requests.get(f"{server.url}/readyz", timeout=TIMEOUT).status_code == 200
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0
    with start(tmp_path / "empty", WAIT_FOR_MODEL="1") as server:
        requests.get(f"{server.url}/healthz", timeout=TIMEOUT)
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0
        log = server.log.read_text()
    assert log.count("not ready: no model in") == 1
    assert f"at {tmp_path / 'empty'}" in log


def test_sigusr2_is_refused_with_a_sentence_and_the_service_goes_on(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert") as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + TIMEOUT
        while "SIGUSR2 is ignored: to upgrade, start the new service" not in server.log.read_text():
            assert time.monotonic() < end, server.log.read_text()
            time.sleep(0.05)
        assert requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=TIMEOUT).ok
        assert "Traceback" not in server.log.read_text()


def test_a_stdout_on_a_full_disk_is_no_reason_not_to_serve(models: Path, tmp_path: Path) -> None:
    environ = os.environ | {"MODELS": str(models), "PORT": "0", "RUNTIME": "litert"}
    log = tmp_path / "log"
    with (
        open("/dev/full", "w") as stdout,
        log.open("w") as stderr,
        subprocess.Popen([sys.executable, "-m", "serving"], env=environ, stdout=stdout, stderr=stderr) as process,
    ):
        try:
            end = time.monotonic() + TIMEOUT
            while "is ready after" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
        finally:
            process.terminate()
    assert log.read_text().startswith(
        "warning: stdout: No space left on device. Serving fashion_mnist at http://127.0.0.1:"
    )
    assert "Traceback" not in log.read_text()


def test_workers_end_when_gunicorn_is_killed_and_free_the_port(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert") as server:
        server.wait_until_ready()
        server.process.kill()
        server.process.wait(TIMEOUT)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", server.port)) != 0:
                    return
            time.sleep(0.1)
        raise AssertionError("a worker still listens")
