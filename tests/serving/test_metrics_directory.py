"""The directory of shared metrics is full, cleaned or used by others: the service goes on, and deletes only its own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.workers import DEADLINE, RAW, answers, replace_a_worker

pytestmark = pytest.mark.slow  # starts several servers or a browser


def test_a_service_whose_metrics_directory_was_cleaned_goes_on(
    models: Path, start: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    with start(models, RUNTIME="litert", METRICS_DIRECTORY=str(tmp_path / "metrics")) as server:
        server.wait_until_ready()
        shutil.rmtree(tmp_path / "metrics")
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        replace_a_worker(server)
        server.wait_until_ready()
        assert answers(server) == 1
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


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
    models: Path, start: Callable[..., AbstractContextManager[Any]], disk: Path
) -> None:
    with start(models, RUNTIME="litert", METRICS_DIRECTORY=str(disk / "metrics")) as server:
        server.wait_until_ready()
        fill(disk)
        before = server.workers()
        # Each of these is a label, or several, that was never written before.
        for path in ("/predict", "/v1/models/fashion_mnist:predict", "/v2/models/fashion_mnist/infer", "/nowhere"):
            for size in (1, 784, 17 * 2**20):
                requests.post(f"{server.url}{path}", data=bytes(size), headers=RAW, timeout=DEADLINE)
        text = requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        assert 'serving_requests_total{code="413",model="",protocol="open_inference",version=""} 1.0' in text
        assert server.workers() == before
        replace_a_worker(server)
        server.wait_until_ready()
        assert answers(server) == 1
        assert "this worker does not share its metrics" in server.log.read_text()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


def test_a_start_on_a_full_disk_serves_without_shared_metrics_and_says_so(
    models: Path, start: Callable[..., AbstractContextManager[Any]], disk: Path
) -> None:
    fill(disk)
    with start(models, RUNTIME="litert", METRICS_DIRECTORY=str(disk)) as server:
        server.wait_until_ready()
        assert answers(server) == 1
        assert "this worker does not share its metrics" in server.log.read_text()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text


def test_the_metrics_directory_keeps_what_is_not_the_service_s_own(
    models: Path, start: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    directory = tmp_path / "serving-metrics-of-mine"
    directory.mkdir()
    (directory / "customers.db").write_text("who and where")
    (directory / "worker-1.json").write_bytes(bytes(8))  # what an earlier start left
    with start(models, RUNTIME="litert", METRICS_DIRECTORY=str(directory)) as server:
        server.wait_until_ready()
        assert not (directory / "worker-1.json").exists()
        assert "serving_model_version{" in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text
        replace_a_worker(server)
        server.wait_until_ready()
    assert [path.name for path in directory.iterdir()] == ["customers.db"]
    assert (directory / "customers.db").read_text() == "who and where"


def test_the_sums_of_a_worker_that_ended_still_count(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    def counted() -> float:
        (line,) = (
            line
            for line in requests.get(f"{server.url}/metrics", timeout=DEADLINE).text.splitlines()
            if line.startswith('serving_requests_total{code="200",model="fashion_mnist",protocol="native"')
        )
        return float(line.rpartition(" ")[2])

    with start(models, RUNTIME="litert") as server:
        server.wait_until_ready()
        answers(server)
        assert counted() == 1
        replace_a_worker(server)
        server.wait_until_ready()
        answers(server)
        assert counted() == 2
