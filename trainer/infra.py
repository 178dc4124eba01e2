"""The infra check: a real server process loads the export and must answer what the Keras model answers.

The service is started as a user starts it and asked over loopback; nothing of it is imported.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from trainer.decoded import Images
from trainer.gate import Check
from trainer.thresholds import Thresholds

START_SECONDS = 30.0  # until it says where it listens
READY_SECONDS = 120.0  # until the model is loaded: TensorFlow alone may take half a minute on a busy machine
ANSWER_SECONDS = 30.0
STOP_SECONDS = 30.0

_ROOT = Path(__file__).parent.parent
# What the caller has set for a service of their own must not decide this check.
_FOREIGN = ("ARTIFACTS", "MODEL_NAME", "WORKERS", "THREADS", "TF_THREADS", "MAX_BODY_BYTES", "MAX_IMAGES")
_URL = re.compile(r"\bat (http://[^\s;]+)")
# Loopback is asked directly, whatever proxy the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Found = TypeVar("Found")


class ServerError(RuntimeError):
    """The server did not start, did not get ready, or did not answer; the message says which and why."""


def infra(models: Path, classes: Sequence[str], images: Images, expected: np.ndarray, thresholds: Thresholds) -> Check:
    """Asks a server for the probabilities of some images, one request an image, and compares.

    Args:
        models: a directory as the service's MODELS, with one version of one model.
        images: uint8 (n, height, width, channels), of which `thresholds.infra_requests` are sent.
        expected: float (n, classes), the Keras model's probabilities.
    """
    chosen = np.linspace(0, len(images) - 1, min(thresholds.infra_requests, len(images))).astype(int)
    tolerance = thresholds.infra_tolerance
    try:
        with server(models) as url:
            answers = np.array([_ask(url, image, classes) for image in images[chosen]])
    except ServerError as error:
        return Check("infra", False, None, tolerance, f"A real server cannot serve the export: {error}")
    worst = float(np.abs(answers - expected[chosen]).max())
    passed = worst <= tolerance
    return Check(
        "infra",
        passed,
        worst,
        tolerance,
        f"A real server's answers to {len(chosen)} requests {'agree' if passed else 'disagree'} with the Keras "
        f"model's: probabilities differ by {worst:.2g} at most, {'within' if passed else 'beyond'} {tolerance:g}.",
    )


@contextmanager
def server(models: Path) -> Iterator[str]:
    """The URL of a server process over `models` that is ready; it is ended on the way out.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    # Without a GPU: the trainer may hold all of its memory, and the answers must not depend on one.
    environment |= {"MODELS": str(models.resolve()), "HOST": "127.0.0.1", "PORT": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,  # Ctrl-C goes to the trainer, which ends the server in order
        )
        try:
            url = _wait(lambda: _url(out), process, log, START_SECONDS, "said where it listens")
            _wait(lambda: _ready(url), process, log, READY_SECONDS, "was ready")
            yield url
        finally:
            _stop(process)


def _wait(
    look: Callable[[], Found | None], process: subprocess.Popen[bytes], log: IO[str], seconds: float, what: str
) -> Found:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        if process.poll() is not None:
            raise ServerError(f"it ended with status {process.returncode} before it {what}; {_last_line(log)}")
        time.sleep(0.05)
    raise ServerError(f"{seconds:g} s passed before it {what}; {_last_line(log)}")


def _url(out: IO[str]) -> str | None:
    out.seek(0)
    line = out.readline()
    found = _URL.search(line) if line.endswith("\n") else None
    return found.group(1) if found else None


def _ready(url: str) -> bool | None:
    try:
        with _OPENER.open(f"{url}/readyz", timeout=5):
            return True
    except OSError:  # not listening yet, or 503 while the model is being loaded
        return None


def _ask(url: str, image: np.ndarray, classes: Sequence[str]) -> list[float]:
    body = json.dumps({"images": [image.tolist()]}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})  # noqa: S310  # ours
    try:
        with _OPENER.open(request, timeout=ANSWER_SECONDS) as reply:
            probabilities = json.load(reply)["predictions"][0]["probabilities"]
        return [probabilities[name] for name in classes]
    except urllib.error.HTTPError as error:
        detail = error.read(500).decode(errors="replace")
        raise ServerError(f"it answered an image with status {error.code}: {detail}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ServerError(f"it did not answer an image with probabilities by class ({error!r}).") from error


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return f"its last words: {lines[-1]}" if lines else "it said nothing."


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers: the session is its own
        process.wait()
