"""The infra check: a real server process loads the export and must answer what the model itself answers.

The service is started as a user starts it, and gets requests over loopback; nothing of it is imported. The requests
hold pixels, and picture files, which service and trainer must decode alike.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from trainer.data import pictures
from trainer.release.checks import Check
from trainer.release.thresholds import Thresholds

READY_SECONDS = 150.0  # until the model is loaded: TensorFlow alone may take half a minute on a busy machine
ANSWER_SECONDS = 30.0

_ROOT = Path(__file__).parents[2]
# Settings of a service of the user's own must not decide this check, so the server gets these variables alone.
_ENVIRONMENT = (
    *("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR"),
    *("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE"),
)
# Requests to loopback go through no proxy, even if the environment names one.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LARGEST_BODY = 16 * 2**20  # bytes that the service accepts by default
ORIENTATIONS = (6, 8, 3, 1, 5, 7, 2, 4)  # EXIF's, the most frequent in photographs first

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (n, height, width, channels) to probabilities (n, classes)


class ServerError(RuntimeError):
    """The server did not start, did not get ready, or did not answer; the message says which and why."""


@dataclass(frozen=True)
class Request:
    """A request's body with its media type, named by `what`, and the uint8 (height, width, channels) in it."""

    what: str
    content_type: str
    body: bytes
    pixels: np.ndarray


@dataclass
class Server:
    """A server process: its address, and the MiB that its largest process took, once it has ended."""

    url: str
    mib: int = 0


def infra(
    models: Path,
    classes: Sequence[str],
    images: np.ndarray,
    predict: Predict,
    thresholds: Thresholds,
    runtime: str = "tensorflow",
) -> Check:
    """Asks a server for the probabilities of some images, one request an image, and compares.

    Args:
        models: a directory as the service's MODELS, with one version of one model.
        images: uint8 (n, height, width, channels); `thresholds.infra_requests` of them are sent, some more than once
            if there are fewer.
        predict: the model's own probabilities, in the framework that made it.
        runtime: the server's, tensorflow or litert.
    """
    chosen = np.linspace(0, len(images) - 1, thresholds.infra_requests).astype(int)
    tolerance = thresholds.infra_tolerance
    asked: list[str] = []
    differences: list[float] = []
    try:
        with server(models, runtime) as running:
            for request in requests_for(np.asarray(images[at]) for at in chosen):
                answer = _ask(running.url, request, classes)
                asked.append(request.what)
                differences.append(float(np.abs(answer - predict(request.pixels[None])[0]).max()))
    except ServerError as error:
        return Check("infra", False, None, tolerance, f"A real server cannot serve the export: {error}")
    at = int(np.argmax(differences))  # of a NaN, if there is one, which is not within the tolerance
    worst, passed = differences[at], differences[at] <= tolerance
    sentence = (
        f"A real server's answers to {len(differences)} requests {'agree' if passed else 'disagree'} with the model's "
        f"own: probabilities differ by {worst:.2g} at most, for {asked[at]}, "
        f"{'within' if passed else 'beyond'} {tolerance:g}. Its largest process took {running.mib:,} MiB."
    )
    return Check("infra", passed, worst, tolerance, sentence)


def requests_for(images: Iterable[np.ndarray]) -> Iterator[Request]:
    """A request an image: pixels, a PNG file and a JPEG file by turns, the JPEG files in every EXIF orientation.

    An image whose pixels are too large for a body is sent as a PNG file.
    """
    orientations = itertools.cycle(ORIENTATIONS)
    for image, kind in zip(images, itertools.cycle(("pixels", "PNG", "JPEG")), strict=False):
        if kind == "JPEG":
            yield _file(f"a JPEG file of EXIF orientation {(turn := next(orientations))}", image, "JPEG", turn)
        elif kind == "pixels" and len(body := _as_json(image)) <= LARGEST_BODY:
            yield Request("pixels as JSON", "application/json", body, image)
        else:
            yield _file("a PNG file", image, "PNG")


def _as_json(image: np.ndarray) -> bytes:
    # Without spaces, with which a bright image of 1024 x 1024 x 3 would be too large.
    return json.dumps({"images": [image.tolist()]}, separators=(",", ":")).encode()


def _file(what: str, image: np.ndarray, kind: str, orientation: int = 1) -> Request:
    """An image as a file of the format `kind`, stored so that it is upright in that EXIF orientation."""
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = {6: 8, 8: 6}.get(orientation, orientation)  # what turns it the other way
    stored = ImageOps.exif_transpose(picture)
    exif[ExifTags.Base.Orientation] = orientation
    content = io.BytesIO()
    stored.save(content, kind, exif=exif, quality=95)
    height, width, channels = image.shape
    pixels = pictures.decode(content.getvalue(), (height, width, channels))
    return Request(what, f"image/{kind.lower()}", content.getvalue(), pixels)


@contextmanager
def server(models: Path, runtime: str = "tensorflow") -> Iterator[Server]:
    """A server process over `models` that is ready; it ends with the block, or with this process.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # The socket is opened here, so that its port is known and nobody else can take it.
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile("w+") as log:
        url, handle = f"http://127.0.0.1:{listener.getsockname()[1]}", listener.fileno()
        # Without a GPU: the trainer may hold all of its memory, and the answers must not depend on one.
        environment |= {"MODELS": str(models.resolve()), "LISTEN_FD": str(handle), "CUDA_VISIBLE_DEVICES": "-1"}
        environment["RUNTIME"] = runtime
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.supervise", sys.executable, "-m", "serving"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,  # the supervisor stops the server when this pipe closes
            stdout=subprocess.PIPE,  # the supervisor writes the memory that was used
            stderr=log,
            pass_fds=[handle],
            start_new_session=True,  # Ctrl-C goes to the trainer, which ends the server in order
        )
        with process:  # on the way out, the pipe is closed and the supervisor's end awaited
            listener.close()
            _wait_until_ready(url, process, log)
            yield (running := Server(url))
            mib, _ = process.communicate()
            running.mib = int(mib)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    until = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        # OSError: it does not accept connections yet, or answers 503 while the model is being loaded.
        with suppress(OSError), _OPENER.open(f"{url}/readyz", timeout=5):
            return
        time.sleep(0.05)
    why = f"{READY_SECONDS:g} s passed" if process.returncode is None else f"it ended with status {process.returncode}"
    raise ServerError(f"{why} before it was ready; {_last_line(log)}")


def _ask(url: str, request: Request, classes: Sequence[str]) -> np.ndarray:
    """The probabilities, float (classes,)."""
    headers = {"Content-Type": request.content_type}
    sent = urllib.request.Request(f"{url}/predict", request.body, headers)  # noqa: S310  # ours
    try:
        with _OPENER.open(sent, timeout=ANSWER_SECONDS) as reply:
            probabilities = json.load(reply)["predictions"][0]["probabilities"]
        return np.array([probabilities[name] for name in classes], float)
    except urllib.error.HTTPError as error:
        detail = error.read(500).decode(errors="replace")
        raise ServerError(f"it answered {request.what} with status {error.code}: {detail}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ServerError(f"it did not answer {request.what} with probabilities by class ({error!r}).") from error


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return f"the last line of its log: {lines[-1]}" if lines else "its log is empty."
