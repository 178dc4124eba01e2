"""The infra check starts a real server, believes its answers only, and leaves no process behind."""

import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from registry.store import ModelStore
from tests.conftest import SAMPLE
from trainer import export, infra, pipeline
from trainer.config import TrainConfig
from trainer.data import ImageDataset
from trainer.thresholds import Thresholds

QUICK = TrainConfig(dataset=f"idx:{SAMPLE}", optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=2)
UNIFORM = np.full((200, 10), 0.1)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen]:
    """The servers that were started; each must have ended."""
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def remembered(*arguments: object, **options: object) -> subprocess.Popen:
        started.append(popen(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(infra.subprocess, "Popen", remembered)
    return started


def test_a_planted_double_rescaling_is_refused_by_the_infra_check_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = export.serving_model

    def rescaled_twice(model: keras.Model, temperature: float = 1.0) -> keras.Model:
        images = keras.Input(model.input_shape[1:], dtype="float32", name=export.INPUT)
        return keras.Model(images, true(model, temperature)(keras.layers.Rescaling(1 / 255)(images)))

    monkeypatch.setattr(export, "serving_model", rescaled_twice)
    with pytest.raises(pipeline.RefusedError, match="disagree with the Keras model's") as refused:
        pipeline.run([QUICK], tmp_path)
    assert [check.name for check in refused.value.verdict.checks if not check.passed] == ["infra"]
    assert not (tmp_path / "models" / "fashion_mnist_sample").exists()


def test_answers_are_held_against_what_is_expected(
    artifacts: Path, sample: ImageDataset, processes: list[subprocess.Popen], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the caller's environment says is for a service of their own, and no proxy knows our loopback.
    for name, value in {"PORT": "1", "MODEL_NAME": "other", "http_proxy": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    check = infra.infra(artifacts / "models", sample.classes, sample.test.images, UNIFORM, Thresholds(infra_requests=3))
    assert not check.passed
    assert check.value is not None
    assert check.value > 0.1
    assert "answers to 3 requests disagree" in check.sentence
    assert [process.poll() for process in processes] == [0]


def test_a_server_that_cannot_start_is_quoted(
    tmp_path: Path, sample: ImageDataset, processes: list[subprocess.Popen]
) -> None:
    check = infra.infra(tmp_path, sample.classes, sample.test.images, UNIFORM, Thresholds())
    assert (check.passed, check.value) == (False, None)
    assert "cannot serve the export: it ended with status 2 before it said where it listens" in check.sentence
    assert "no model in" in check.sentence
    assert processes[0].poll() == 2


def test_an_export_that_does_not_load_is_quoted(tmp_path: Path, artifacts: Path, sample: ImageDataset) -> None:
    name = "fashion_mnist_sample"
    store = ModelStore(tmp_path, name)
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"not a graph")
        store.publish(staged, ModelStore(artifacts / "models", name).card(1))
    check = infra.infra(tmp_path, sample.classes, sample.test.images, UNIFORM, Thresholds())
    assert not check.passed
    assert "before it was ready; its last words:" in check.sentence


def test_a_server_that_takes_too_long_is_ended(
    artifacts: Path, sample: ImageDataset, processes: list[subprocess.Popen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra, "READY_SECONDS", 0.0)
    check = infra.infra(artifacts / "models", sample.classes, sample.test.images, UNIFORM, Thresholds())
    assert not check.passed
    assert "0 s passed before it was ready" in check.sentence
    assert processes[0].poll() is not None
