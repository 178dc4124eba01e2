"""A real service that loses a worker while its registry, or the place of its metrics, is not as it was: it lives on."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from registry.store import ModelStore

DEADLINE = 60.0
RAW = {"Content-Type": "application/octet-stream"}


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


def workers(server: Any) -> set[int]:
    """The process ids of the workers that live."""
    pid = server.process.pid
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def wait(until: Callable[[], Any], server: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not until():
        assert server.process.poll() is None, f"the service ended: {server.log.read_text()}"
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)


def replace_a_worker(server: Any) -> None:
    """Kill one as the kernel does when memory is short, and wait for the one that comes instead."""
    before = workers(server)
    os.kill(min(before), signal.SIGKILL)
    wait(lambda: len(workers(server) - before) == 1, server)


def answers(server: Any) -> int:
    """The version that answers a prediction."""
    reply = requests.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=DEADLINE)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["version"])


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


def test_a_service_whose_metrics_directory_was_cleaned_goes_on(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    with start(store.root, RUNTIME="litert", METRICS_DIRECTORY=str(tmp_path / "metrics")) as server:
        server.wait_until_ready()
        shutil.rmtree(tmp_path / "metrics")
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        replace_a_worker(server)
        server.wait_until_ready()
        assert answers(server) == 1
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB of its own, to fill."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", path], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize)
    assert os.statvfs(disk).f_bavail == 0


def test_a_disk_that_fills_up_under_the_metrics_ends_no_worker(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]], disk: Path
) -> None:
    with start(store.root, RUNTIME="litert", METRICS_DIRECTORY=str(disk / "metrics")) as server:
        server.wait_until_ready()
        fill(disk)
        before = workers(server)
        # Each of these is a label, or several, that was never written before.
        for path in ("/predict", "/v1/models/fashion_mnist:predict", "/v2/models/fashion_mnist/infer", "/nowhere"):
            for size in (1, 784, 17 * 2**20):
                requests.post(f"{server.url}{path}", data=bytes(size), headers=RAW, timeout=DEADLINE)
        text = requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        assert 'serving_requests_total{code="413",face="open_inference",version=""} 1.0' in text
        assert workers(server) == before
        replace_a_worker(server)
        server.wait_until_ready()
        assert answers(server) == 1
        assert "this worker does not share its metrics" in server.log.read_text()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


def test_a_start_on_a_full_disk_serves_without_shared_metrics_and_says_so(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]], disk: Path
) -> None:
    fill(disk)
    with start(store.root, RUNTIME="litert", METRICS_DIRECTORY=str(disk)) as server:
        server.wait_until_ready()
        assert answers(server) == 1
        assert "this worker does not share its metrics" in server.log.read_text()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


def test_the_metrics_directory_keeps_what_is_not_the_service_s_own(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    directory = tmp_path / "serving-metrics-of-mine"
    directory.mkdir()
    (directory / "customers.db").write_text("who and where")
    (directory / "counter_1.db").write_bytes(bytes(8))  # what an earlier start left
    with start(store.root, RUNTIME="litert", METRICS_DIRECTORY=str(directory)) as server:
        server.wait_until_ready()
        assert not (directory / "counter_1.db").exists()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        replace_a_worker(server)
        server.wait_until_ready()
    assert [path.name for path in directory.iterdir()] == ["customers.db"]
    assert (directory / "customers.db").read_text() == "who and where"


def test_the_sums_of_a_worker_that_ended_still_count(
    store: ModelStore, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    def counted() -> float:
        (line,) = (
            line
            for line in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text.splitlines()
            if line.startswith('serving_requests_total{code="200",face="native"')
        )
        return float(line.rpartition(" ")[2])

    with start(store.root, RUNTIME="litert") as server:
        server.wait_until_ready()
        answers(server)
        assert counted() == 1
        replace_a_worker(server)
        server.wait_until_ready()
        answers(server)
        assert counted() == 2
