"""From images to an answer over HTTP, with the commands that a user types."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, SAMPLE
from tests.serving.conftest import running

pytestmark = pytest.mark.tensorflow

BOOT = ROOT / "serving" / "samples" / "ankle-boot.png"


def test_train_then_serve_then_predict(tmp_path: Path) -> None:
    options = ["--model", "basic", "--epochs", "8", "--optimizer", "adam", "--learning-rate", "0.003"]
    options += ["--threshold", "calibration_error=0.2"]  # how well so few images calibrate is luck
    trained = subprocess.run(
        [sys.executable, "-m", "trainer", "--dataset", f"idx:{SAMPLE}", *options],
        cwd=ROOT,
        env={**os.environ, "ARTIFACTS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""
    assert "Pushed basic as version 1 of fashion_mnist_sample" in trained.stdout
    assert "make serve" in trained.stdout

    with running(tmp_path / "models", log=tmp_path / "log") as server:
        server.wait_until_ready()
        with BOOT.open("rb") as image:
            answer = requests.post(f"{server.url}/predict", files={"image": image}, timeout=300).json()
        assert answer["version"] == 1
        assert answer["predictions"][0]["label"] in ("Ankle boot", "Sandal", "Sneaker")  # 400 images teach no more
        server.process.terminate()
        assert server.process.wait(300) == 0
