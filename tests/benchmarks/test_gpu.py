"""The benchmark for GPUs runs on a CPU too, so that it is known to work before there is a GPU."""

import os
import subprocess
import sys

import pytest

from benchmarks.gpu import time_to
from tests.conftest import ROOT, SAMPLE
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset

pytestmark = pytest.mark.tensorflow

TINY = ("--dataset", f"idx:{SAMPLE}", "--models", "basic", "--batches", "16", "--rounds", "1")


def run(*options: str, backend: str = "tensorflow") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *TINY, *options]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True
    )


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_it_prints_a_table_of_epochs_with_the_device_and_the_versions(backend: str) -> None:
    done = run("--precisions", "float32", "float32 with TF32", backend=backend)
    assert done.returncode == 0, done.stderr[-2000:]
    device, software, _, about, _, *table = done.stdout.splitlines()
    assert device.startswith("No GPU: ")
    assert f"Keras on {backend}; keras 3." in software
    assert about == "An epoch of 400 images; median of 1 (range)."
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert rows[0] == ["model", "precision", "batch", "seconds an epoch", "images a second"]
    assert [row[:3] for row in rows[2:]] == [["basic", "float32", "16"], ["basic", "float32 with TF32", "16"]]
    for *_, seconds, rate in rows[2:]:
        # The seconds are rounded to hundredths.
        assert float(rate.replace(",", "")) * float(seconds.split()[0]) == pytest.approx(400, rel=0.5)


def test_a_precision_that_the_device_lacks_is_refused_before_anything_is_measured() -> None:
    done = run("--precisions", "float32", "mixed_float16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: `precision` mixed_float16 needs a GPU of compute capability 7.0 or more." in done.stderr


def test_the_time_to_an_accuracy_ends_with_the_epoch_that_reaches_it(sample: ImageDataset) -> None:
    config = TrainConfig(optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=8)
    reached = time_to(0.3, config, sample)
    assert reached.startswith("`basic` reached 0.3 on the test images in epoch ")
    assert "in epoch 8" not in reached
    missed = time_to(1.0, TrainConfig(epochs=2), sample)
    assert missed.startswith("`basic` did not reach 1, but 0.")
    assert "at best, on the test images in epoch 2 of 2, after " in missed
