"""What the tests of the service share: a fake predictor, a real small version on disk, and a real server."""

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from registry.card import ModelCard, TensorSpec
from registry.store import FLATBUFFER, ModelStore
from serving.images.pixels import Images
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Seconds; far more than anything here takes, so that a hang fails and a slow machine does not.
DEADLINE = 300.0


def make_card(classes: tuple[str, ...] = CLASSES, shape: tuple[int, ...] = (28, 28, 1)) -> ModelCard:
    return ModelCard(
        name="fashion_mnist",
        run="test",
        created="2026-01-31T12:00:00+00:00",
        classes=classes,
        input=TensorSpec("images", shape, "float32"),
        output=TensorSpec("probabilities", (len(classes),), "float32"),
        data={},
        config={},
        metrics={},
        libraries={},
        commit=None,
    )


@dataclass
class FakePredictor:
    """Says that an image is of the class that its first pixel names, and keeps the images it was shown."""

    card: ModelCard
    version: int = 7
    batches: bool = False
    largest: int = 64
    seen: Images | None = None

    def predict(self, images: Images) -> NDArray[np.float32]:
        self.seen = images
        probabilities = np.full((len(images), len(self.card.classes)), 0.01, np.float32)
        probabilities[np.arange(len(images)), images[:, 0, 0, 0].astype(int) % len(self.card.classes)] = 0.91
        return probabilities


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_caller() -> Iterator[None]:
    """The shell that runs the tests may have a HOST or a PORT of its own, and a proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*(each.name.upper() for each in fields(Settings)), "GUNICORN_CMD_ARGS"):
            patch.delenv(name, raising=False)
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture
def card() -> ModelCard:
    return make_card()


@pytest.fixture
def predictor(card: ModelCard) -> FakePredictor:
    return FakePredictor(card)


@pytest.fixture
def client(predictor: FakePredictor) -> BridgeClient:
    return bridged(Served(predictor), Settings())


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """A grey image that the model takes as it is; the fake calls it a Sandal."""
    return (np.arange(28 * 28).reshape(28, 28) % 251 + 5).astype(np.uint8)


@pytest.fixture(scope="session")
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, (784, len(CLASSES))).astype(np.float32)


@pytest.fixture(scope="session")
def expected(weights: NDArray[np.float32]) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What the model of `models` answers for images of shape (n, 28, 28), by plain numpy."""

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = images.reshape(-1, 784) / np.float32(255) @ weights
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)

    return probabilities


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, weights: NDArray[np.float32]) -> Path:
    """A models directory with one version: a real SavedModel of one layer, published by the real store."""
    root = tmp_path_factory.mktemp("models")
    publish_layer(root, weights, make_card(), flatbuffer=True)
    return root


@pytest.fixture
def publish() -> Callable[[Path, NDArray[np.float32], ModelCard], Path]:
    return publish_layer


def publish_layer(root: Path, weights: NDArray[np.float32], card: ModelCard, flatbuffer: bool = False) -> Path:
    """Publish a SavedModel of one layer with these `weights`; returns the directory of the version."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(weights)

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(tf.reshape(images / 255, (-1, 784)) @ module.weights)}

    store = ModelStore(root, card.name)
    with store.stage() as staged:
        tf.saved_model.save(module, str(staged), signatures={"serving_default": serve})
        if flatbuffer:
            (staged / FLATBUFFER).parent.mkdir()
            (staged / FLATBUFFER).write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(staged)).convert())
        return store.path(store.publish(staged, card))


@dataclass
class Server:
    """A real `python -m serving` on a free port of loopback; `log` is what it wrote to stderr."""

    process: subprocess.Popen[str]
    log: Path
    banner: str
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        pid = self.process.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def wait_until_ready(self) -> list[int]:
        """Every status of /readyz on the way to 200."""
        statuses, end = [], time.monotonic() + DEADLINE
        while time.monotonic() < end:
            statuses.append(requests.get(f"{self.url}/readyz", timeout=DEADLINE).status_code)
            if statuses[-1] == 200:
                return statuses
            time.sleep(0.05)
        raise AssertionError(f"not ready after {DEADLINE} s: {statuses}")


@contextmanager
def running(models: Path, *, log: Path, **environ: str) -> Iterator[Server]:
    """Start the service over `models` with further variables in `environ`, and end it afterwards."""
    environ = os.environ | {"MODELS": str(models), "PORT": "0"} | environ
    command = [sys.executable, "-m", "serving"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(DEADLINE), "no line on stdout"
            banner = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", banner)
            assert found, f"{banner}{log.read_text()}"
            yield Server(process, log, banner, found[0])
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(DEADLINE)
                except subprocess.TimeoutExpired:
                    process.kill()


def skip_where_a_server_is_named() -> None:
    if url := os.environ.get("SERVING_URL"):
        pytest.skip(f"it starts a server of its own, which is not the one at {url}")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractContextManager[Server]]:
    """Start a server of one's own: `with start(models, THREADS="1") as server`."""
    skip_where_a_server_is_named()
    return partial(running, log=tmp_path / "log")


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Server]]:
    """As `start`, for a fixture whose server several tests of a module share."""
    skip_where_a_server_is_named()
    return lambda models, **environ: running(models, log=tmp_path_factory.mktemp("server") / "log", **environ)


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One ready server for all tests that only ask it something; SERVING_URL names one that serves `models` already."""
    if url := os.environ.get("SERVING_URL"):
        yield Server(None, None, f"at {url}; try:", url)  # type: ignore[arg-type]
        return
    with running(models, log=tmp_path_factory.mktemp("server") / "log") as server:
        server.wait_until_ready()
        yield server
