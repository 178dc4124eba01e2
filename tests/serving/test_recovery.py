"""A real service that loses a worker while its registry is not as it was: it lives on."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from registry.store import ModelStore
from tests.serving.workers import DEADLINE, RAW, answers, replace_a_worker, wait

pytestmark = pytest.mark.slow  # starts several servers or a browser


@pytest.fixture
def store(models: Path, tmp_path: Path) -> ModelStore:
    """A registry of one's own to break."""
    shutil.copytree(models, tmp_path / "models")
    return ModelStore(tmp_path / "models", "fashion_mnist")


def push_a_damaged_version(store: ModelStore) -> int:
    version = max(store.versions()) + 1
    scratch = store.root.parent / "scratch"
    shutil.copytree(store.path(1), scratch)
    (scratch / "saved_model.pb").write_bytes(b"something else")
    scratch.rename(store.path(version))
    return version


@dataclass
class Service:
    """Two workers, both of them ready, over a registry that a test may break."""

    server: Any
    store: ModelStore

    def ready(self) -> int:
        """How many workers have become ready so far."""
        return str(self.server.log.read_text()).count(" is ready after ")


@pytest.fixture
def service(store: ModelStore, start: Callable[..., AbstractContextManager[Any]]) -> Iterator[Service]:
    with start(store.root, WORKERS="2", RUNTIME="litert", LOG_FORMAT="text") as server:
        service = Service(server, store)
        wait(lambda: service.ready() == 2, server)
        yield service


def test_a_worker_that_is_replaced_over_a_damaged_push_serves_the_version_before(service: Service) -> None:
    version = push_a_damaged_version(service.store)
    replace_a_worker(service.server)
    wait(lambda: service.ready() == 3, service.server)
    assert f"version {version} is not served" in service.server.log.read_text()
    assert {answers(service.server) for _ in range(10)} == {1}


@pytest.mark.parametrize("pin", ["nine", "1" * 5000, "7"])
def test_a_worker_that_is_replaced_under_a_broken_pin_serves_the_newest_version(service: Service, pin: str) -> None:
    (service.store.directory / "pinned").write_text(pin)
    replace_a_worker(service.server)
    wait(lambda: service.ready() == 3, service.server)
    assert {answers(service.server) for _ in range(10)} == {1}


def test_a_worker_that_is_replaced_while_the_models_are_away_waits_for_them(service: Service) -> None:
    away = service.store.root.rename(service.store.root.with_name("away"))
    replace_a_worker(service.server)
    wait(lambda: "not ready: " in service.server.log.read_text(), service.server)
    away.rename(service.store.root)
    wait(lambda: service.ready() == 3, service.server)
    assert {answers(service.server) for _ in range(10)} == {1}


def test_a_service_whose_versions_are_all_damaged_waits_for_a_good_one(service: Service) -> None:
    good = service.store.root.parent / "good"
    shutil.copytree(service.store.path(1), good)
    (service.store.path(1) / "saved_model.pb").write_bytes(b"something else")
    replace_a_worker(service.server)
    wait(lambda: "version 1 is not served" in service.server.log.read_text(), service.server)
    good.rename(service.store.path(2))
    wait(lambda: service.ready() == 4, service.server)  # the other worker swaps, too
    assert {answers(service.server) for _ in range(10)} == {2}


def test_a_start_over_a_damaged_newest_version_serves_the_one_before(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    version = push_a_damaged_version(store)
    with start(store.root, RUNTIME="litert") as server:
        server.wait_until_ready()
        assert answers(server) == 1
        assert f"version {version} is not served" in server.log.read_text()


def test_a_start_that_waits_for_a_model_waits_where_all_versions_are_damaged(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    good = shutil.copytree(store.path(1), store.root.parent / "good")
    (store.path(1) / "saved_model.pb").write_bytes(b"something else")
    with start(store.root, RUNTIME="litert", WAIT_FOR_MODEL="1") as server:
        wait(lambda: "version 1 is not served" in server.log.read_text(), server)
        reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=DEADLINE)
        assert reply.status_code == 503
        assert reply.json()["detail"] == "No version of the model can be served now; the log says why."
        good.rename(store.path(2))
        server.wait_until_ready()
        assert answers(server) == 2


def test_a_worker_that_is_replaced_after_the_file_of_keys_is_gone_asks_for_the_same_keys(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(hashlib.sha256(b"correct-horse").hexdigest())
    with start(store.root, RUNTIME="litert", API_KEYS_FILE=str(tmp_path / "keys")) as server:
        server.wait_until_ready()
        (tmp_path / "keys").unlink()
        replace_a_worker(server)
        server.wait_until_ready()
        for key, status in (("correct-horse", 200), ("battery-staple", 401)):
            headers = RAW | {"X-API-Key": key}
            reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=headers, timeout=DEADLINE)
            assert reply.status_code == status
