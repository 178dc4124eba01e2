"""From images to an answer over HTTP, with the commands that a user types."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, SAMPLE

pytestmark = pytest.mark.tensorflow

BOOT = ROOT / "serving" / "samples" / "ankle-boot.png"


def test_train_then_serve_then_predict(tmp_path: Path) -> None:
    environment = {**os.environ, "ARTIFACTS": str(tmp_path)}
    options = ["--model", "basic", "--epochs", "8", "--optimizer", "adam", "--learning-rate", "0.003"]
    trained = subprocess.run(
        [sys.executable, "-m", "trainer", "--dataset", f"idx:{SAMPLE}", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""
    assert "Pushed basic as version 1 of fashion_mnist_sample" in trained.stdout
    assert "make serve" in trained.stdout

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "serving"], cwd=ROOT, env={**environment, "PORT": str(port)}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until_ready(url, server)
        with BOOT.open("rb") as image:
            answer = requests.post(f"{url}/predict", files={"image": image}, timeout=10).json()
        assert answer["version"] == 1
        assert answer["predictions"][0]["label"] == "Ankle boot"
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0


def wait_until_ready(url: str, server: subprocess.Popen, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, "the server ended before it was ready"
        try:
            if requests.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready within {seconds} s")
