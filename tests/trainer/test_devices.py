"""The same run on one device, on two of a host and in two processes learns the same."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from registry.store import ModelStore
from tests.conftest import ROOT, SAMPLE
from trainer import devices
from trainer.data.dataset import ImageDataset
from trainer.release.exported import SavedModel

pytestmark = pytest.mark.tensorflow

Start = Callable[..., subprocess.Popen]
# Batches that divide the sample's 400 training images, so that no device count leaves any out.
TRAINING = """
import json, sys
from pathlib import Path
import tensorflow as tf

data, directory, cpus = sys.argv[1:]
if cpus != "1":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(cpus))

from trainer import devices
from trainer.config import TrainConfig
from trainer.data.load import load
from trainer.training.fit import train

config = TrainConfig(data, model="deep", optimizer="adam", learning_rate=3e-3, batch_size=40, epochs=2, mirror=True)
computing = devices.start()
result = train(config, load(data, Path("unused")), Path(directory), devices=computing)
print(json.dumps({"count": computing.count, "processes": computing.processes, **result.history}))
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a training in a process of its own, which ends with the test."""
    started = []

    def process(directory: Path, backend: str, cpus: int = 1, **variables: str) -> subprocess.Popen:
        directory.mkdir(parents=True)
        command = [sys.executable, "-c", TRAINING, f"idx:{SAMPLE}", str(directory), str(cpus)]
        environ = {**os.environ, "KERAS_BACKEND": backend, **variables}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environ, text=True, **pipes))
        return started[-1]

    yield process
    for each in started:
        each.kill()
        each.communicate()


def outcome(process: subprocess.Popen) -> dict:
    out, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def assert_alike(one: dict, other: dict) -> None:
    """Sums in another order may turn the prediction of an image or two, of 400."""
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3)
    np.testing.assert_allclose(one["accuracy"], other["accuracy"], rtol=0, atol=2.5 / 400)


@pytest.mark.slow
def test_two_devices_of_a_host_learn_what_one_learns(start: Start, tmp_path: Path) -> None:
    one = outcome(start(tmp_path / "one", "tensorflow"))
    two = outcome(start(tmp_path / "two", "tensorflow", cpus=2))
    assert (one["count"], two["count"]) == (1, 2)
    assert_alike(one, two)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    one = outcome(start(tmp_path / "one", "jax"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    processes = [
        start(tmp_path / f"process{index}", "jax", KERAS_DISTRIBUTION_PROCESS_ID=str(index), **job) for index in (0, 1)
    ]
    first, second = map(outcome, processes)
    assert first["processes"] == 2
    for name in ("loss", "val_loss", "accuracy"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-6)
    assert_alike(one, first)
    assert (tmp_path / "process0" / "model.keras").is_file()
    assert not list((tmp_path / "process1").iterdir())


@pytest.mark.slow
def test_jax_pushes_a_saved_model_like_any_other(tmp_path: Path, sample: ImageDataset) -> None:
    pytest.importorskip("jax")
    options = ["--model", "basic", "--optimizer", "adam", "--learning-rate", "0.003", "--epochs", "3"]
    lenient = ["--threshold", "calibration_error=1", "--threshold", "recall_floor=0"]
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--dataset", f"idx:{SAMPLE}", *options, *lenient, "--artifacts", tmp_path],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    store = ModelStore(tmp_path / "models", "fashion_mnist_sample")
    assert store.verify() == []
    assert {check["name"]: check["passed"] for check in store.card(1).verdict["checks"]}["infra"]
    guesses = SavedModel(store.path(1)).predict(sample.test.images).argmax(axis=1)
    assert (guesses == sample.test.labels).mean() == store.card(1).metrics["test_accuracy"]


@pytest.mark.parametrize("variable", [devices.ADDRESSES, "TF_CONFIG"])
def test_several_hosts_without_jax_are_refused_with_the_reason(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "10.0.0.1:1234")
    with pytest.raises(ValueError, match=f"{variable} asks for several hosts, which needs KERAS_BACKEND=jax"):
        devices.start()


@pytest.mark.parametrize("backend", ["torch", "numpy", "nonsense"])
def test_a_backend_that_the_trainer_does_not_know_is_refused(backend: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--dataset", f"idx:{SAMPLE}", "--artifacts", tmp_path],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: `KERAS_BACKEND` must be tensorflow or jax. Received: {backend}.\n"
