"""A real server over two models: what is swapped, pushed and broken on one leaves the other as it is."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from registry.card import ModelCard
from registry.store import ModelStore
from tests.serving.conftest import make_card, publish_layer
from tests.serving.workers import RAW, replace_a_worker, wait

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]  # starts several servers

Start = Callable[..., AbstractContextManager[Any]]
LITE = {"RUNTIME": "litert"}
TIMEOUT = 300


def card_of(name: str, month: int = 1) -> ModelCard:
    return replace(make_card(), name=name, created=f"2026-{month:02}-28T12:00:00+00:00")


@pytest.fixture
def root(tmp_path: Path, weights: NDArray[np.float32]) -> Path:
    """Two models, of which fashion_mnist was pushed last; shoes calls each image by the class after."""
    publish_layer(tmp_path / "models", np.roll(weights, 1, axis=1), card_of("shoes"), flatbuffer=True)
    publish_layer(tmp_path / "models", weights, card_of("fashion_mnist", month=2), flatbuffer=True)
    return tmp_path / "models"


@dataclass
class Clients:
    """Clients that ask one path again and again, and what they were answered."""

    url: str
    body: dict[str, Any]
    seen: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        with requests.Session() as session:
            while not self.ending.is_set():
                try:
                    reply = session.post(self.url, json=self.body, timeout=TIMEOUT)
                except requests.RequestException as error:
                    self.faults.append(repr(error))
                    return
                if reply.status_code == 200:
                    content = reply.json()
                    self.seen[f"{content['model_name']} {content['model_version']}"] += 1
                else:
                    self.faults.append(reply.text[:200])

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ending.set()
            for thread in threads:
                thread.join()


def names(server: Any) -> list[str]:
    return [each["name"] for each in requests.get(f"{server.url}/models", timeout=TIMEOUT).json()["models"]]


@pytest.mark.parametrize("runtime", ["litert", "tensorflow"])
def test_a_swap_of_one_model_under_load_loses_nothing_and_leaves_the_other(
    root: Path, start: Start, weights: NDArray[np.float32], runtime: str
) -> None:
    tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [9] * 784}
    with start(root, WORKERS="2", RUNTIME=runtime, DEADLINE_MS="300000") as server:
        wait(lambda: server.log.read_text().count(" is ready after") == 4, server)
        clients = {
            name: Clients(f"{server.url}/v2/models/{name}/infer", {"inputs": [tensor]})
            for name in ("fashion_mnist", "shoes")
        }
        with clients["fashion_mnist"].asking(), clients["shoes"].asking():
            wait(lambda: all(each.seen.total() > 20 for each in clients.values()), server)
            publish_layer(root, weights, card_of("shoes"), flatbuffer=True)
            wait(lambda: server.log.read_text().count("shoes version 2 is ready after") == 2, server)
            before = {name: each.seen.total() for name, each in clients.items()}
            wait(lambda: all(each.seen.total() > before[name] + 50 for name, each in clients.items()), server)
    assert [each.faults for each in clients.values()] == [[], []]
    assert set(clients["fashion_mnist"].seen) == {"fashion_mnist 1"}
    assert set(clients["shoes"].seen) == {"shoes 1", "shoes 2"}


def test_a_model_that_is_pushed_while_the_service_runs_is_served_from_its_next_start_on(
    root: Path, start: Start, weights: NDArray[np.float32]
) -> None:
    with start(root, WORKERS="2", **LITE) as server:
        assert "Serving fashion_mnist and shoes at" in server.banner
        wait(lambda: server.log.read_text().count("shoes version 1 is ready after") == 2, server)
        publish_layer(root, weights, card_of("bags", month=3), flatbuffer=True)
        replace_a_worker(server)  # the new one must not make another model the default
        wait(lambda: server.log.read_text().count("shoes version 1 is ready after") == 3, server)
        for _ in range(20):
            reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=TIMEOUT).json()
            assert reply["model"] == "fashion_mnist"
            assert names(server) == ["fashion_mnist", "shoes"]
    with start(root, **LITE) as server:
        server.wait_until_ready()
        assert names(server) == ["bags", "fashion_mnist", "shoes"]
        reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=TIMEOUT).json()
        assert reply["model"] == "bags"


def test_model_name_says_which_models_are_served_and_which_is_the_default(root: Path, start: Start) -> None:
    with start(root, MODEL_NAME="shoes", MAX_MODELS="1", **LITE) as server:
        server.wait_until_ready()
        assert names(server) == ["shoes"]
        reply = requests.get(f"{server.url}/v2/models/fashion_mnist", timeout=TIMEOUT)
        assert (reply.status_code, reply.json()["error"]) == (404, "The model must be shoes. Received: fashion_mnist.")
    with start(root, MODEL_NAME="shoes,fashion_mnist", **LITE) as server:
        server.wait_until_ready()
        assert names(server) == ["shoes", "fashion_mnist"]


def test_a_broken_model_leaves_the_default_one_and_a_broken_default_one_ends_the_start(
    root: Path, start: Start
) -> None:
    broken = ModelStore(root, "shoes").path(1) / "saved_model.pb"
    broken.write_bytes(b"other")
    with start(root, **LITE) as server:
        server.wait_until_ready()
        wait(lambda: "shoes version 1 is not served" in server.log.read_text(), server)
        reply = requests.post(f"{server.url}/v1/models/shoes:predict", json={"instances": []}, timeout=TIMEOUT)
        assert reply.json() == {"error": "No version of the model can be served now; the log says why."}
        assert reply.status_code == 503
        assert requests.get(f"{server.url}/readyz", timeout=TIMEOUT).json()["model"] == "fashion_mnist"
    with start(root, MODEL_NAME="shoes,fashion_mnist", **LITE) as server:
        end = time.monotonic() + TIMEOUT
        while server.process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert server.process.returncode == 3
        assert "cannot serve: " in server.log.read_text()
