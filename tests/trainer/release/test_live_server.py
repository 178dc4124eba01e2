"""The infra check starts a real server, believes its answers only, and leaves no process behind."""

import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from registry.store import ModelStore
from serving.settings import Settings
from tests.conftest import ROOT, SAMPLE, train_and_push
from tests.leftovers import runs
from trainer import pipeline
from trainer.config import TrainConfig
from trainer.data import pictures
from trainer.data.dataset import ImageDataset
from trainer.evaluation.calibration import softmax
from trainer.release import export, exported, live_server
from trainer.release.thresholds import Thresholds

pytestmark = pytest.mark.tensorflow

QUICK = TrainConfig(dataset=f"idx:{SAMPLE}", optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=2)
NAME = "fashion_mnist_sample"


@pytest.fixture(autouse=True)
def every_server_ends_with_its_check() -> Iterator[None]:
    before = set(descendants(os.getpid()))  # such as servers that other tests share
    yield
    assert set(descendants(os.getpid())) <= before


def uniform(images: np.ndarray) -> np.ndarray:
    return np.full((len(images), 10), 0.1)


@pytest.fixture
def served(artifacts: Path) -> live_server.Predict:
    """What the served version's Keras model answers."""
    (path,) = artifacts.glob("runs/*/model.keras")
    model = keras.saving.load_model(path, compile=False)
    temperature = ModelStore(artifacts / "models", NAME).card(1).metrics["calibration"]["temperature"]
    return lambda images: softmax(model.predict_on_batch(images), temperature)


def descendants(pid: int) -> list[int]:
    """Every process below one, those that have ended aside, and Python's resource tracker, which stays with it."""
    try:
        children = [int(each) for path in Path(f"/proc/{pid}/task").iterdir() for each in _words(path / "children")]
    except FileNotFoundError:
        return []
    below = [each for child in children for each in [child, *descendants(child)]]
    return [
        each for each in below if runs(each) and "resource_tracker" not in " ".join(_words(f"/proc/{each}/cmdline"))
    ]


def _words(path: Path | str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@pytest.mark.slow
def test_a_planted_double_rescaling_is_refused_by_the_infra_check_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = export.serving_model

    def rescaled_twice(model: keras.Model, temperature: float = 1.0) -> keras.Model:
        images = keras.Input(model.input_shape[1:], dtype="float32", name=exported.INPUT)
        return keras.Model(images, true(model, temperature)(keras.layers.Rescaling(1 / 255)(images)))

    monkeypatch.setattr(export, "serving_model", rescaled_twice)
    with pytest.raises(pipeline.RefusedError, match="disagree with the model's own") as refused:
        train_and_push([QUICK], tmp_path, overrides={"calibration_error": 1.0})
    assert [check.name for check in refused.value.verdict.checks if not check.passed] == ["infra"]
    assert not (tmp_path / "models" / NAME).exists()


@pytest.mark.slow
def test_the_caller_s_settings_of_a_service_do_not_decide(
    artifacts: Path, sample: ImageDataset, served: live_server.Predict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    others = {
        "API_KEYS": "0" * 64,
        "RUNTIME": "litert",
        "METRICS_DIRECTORY": str(tmp_path / "metrics"),
        "DEADLINE_MS": "1",
        "PORT": "1",
        "MODEL_NAME": "other",
        "GUNICORN_CMD_ARGS": "--workers=nonsense",
        "http_proxy": "http://127.0.0.1:9",
    }
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    check = live_server.infra(artifacts / "models", sample.classes, sample.test.images, served, Thresholds())
    assert check.passed, check.sentence
    assert check.sentence.startswith("A real server's answers to 24 requests agree with the model's own")
    assert not (tmp_path / "metrics").exists()


def test_answers_are_held_against_what_is_expected(artifacts: Path, sample: ImageDataset) -> None:
    check = live_server.infra(
        artifacts / "models", sample.classes, sample.test.images, uniform, Thresholds(infra_requests=3)
    )
    assert not check.passed
    assert check.value is not None
    assert check.value > 0.1
    assert "answers to 3 requests disagree" in check.sentence
    assert re.search(r"Its largest process took [1-9][\d,]{2,4} MiB\.$", check.sentence)


def test_picture_files_that_the_trainer_reads_lying_are_refused(
    artifacts: Path, sample: ImageDataset, served: live_server.Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_stored(content: bytes, shape: pictures.Shape) -> np.ndarray:
        return pictures.fit_array(np.asarray(Image.open(io.BytesIO(content)).convert("L"))[..., None], shape)

    monkeypatch.setattr(pictures, "decode", as_stored)
    check = live_server.infra(artifacts / "models", sample.classes, sample.test.images, served, Thresholds())
    assert not check.passed
    assert "at most, for a JPEG file of EXIF orientation" in check.sentence


def test_the_memory_that_is_told_is_the_server_s_and_not_the_trainer_s() -> None:
    """Linux counts as a process's own what its parent held when it started it."""
    allocate = [sys.executable, "-c", "bytearray(b'1') * (100 * 2**20)"]
    supervised = [sys.executable, "-m", "trainer.supervise", *allocate]
    with subprocess.Popen(supervised, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        told = int(process.stdout.read())
    assert 100 <= told < 200 < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@pytest.mark.parametrize("shape", [(40, 60, 3), (28, 28, 1)])
def test_the_picture_files_sent_show_the_test_images_upright(shape: tuple[int, int, int]) -> None:
    smooth = np.linspace(0, 255, 40 * 60).reshape(40, 60, 1)[: shape[0], : shape[1]]
    image = np.broadcast_to(smooth, shape).astype(np.uint8)
    sent = list(live_server.requests_for([image] * 24))
    kinds = {request.what for request in sent}
    assert kinds == {"pixels as JSON", "a PNG file", *(f"a JPEG file of EXIF orientation {n}" for n in range(1, 9))}
    for request in sent:
        assert np.abs(request.pixels.astype(int) - image).max() <= (8 if "JPEG" in request.what else 0), request.what


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path, sample: ImageDataset) -> None:
    check = live_server.infra(tmp_path, sample.classes, sample.test.images, uniform, Thresholds())
    assert (check.passed, check.value) == (False, None)
    assert "cannot serve the export: it ended with status 2 before it was ready" in check.sentence
    assert "no model in" in check.sentence


def test_an_export_that_does_not_load_is_quoted(tmp_path: Path, artifacts: Path, sample: ImageDataset) -> None:
    store = ModelStore(tmp_path, NAME)
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"not a graph")
        store.publish(staged, ModelStore(artifacts / "models", NAME).card(1))
    check = live_server.infra(tmp_path, sample.classes, sample.test.images, uniform, Thresholds())
    assert not check.passed
    assert "before it was ready; the last line of its log:" in check.sentence


def test_a_server_that_takes_too_long_is_ended(
    artifacts: Path, sample: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_server, "READY_SECONDS", 0.0)
    check = live_server.infra(artifacts / "models", sample.classes, sample.test.images, uniform, Thresholds())
    assert not check.passed
    assert "0 s passed before it was ready" in check.sentence


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_its_trainer_whatever_ends_that(artifacts: Path, kind: signal.Signals) -> None:
    script = (
        "import sys, time; from pathlib import Path; from trainer.release import live_server\n"
        "with live_server.server(Path(sys.argv[1])):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(artifacts / "models")]
    trainer = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert trainer.stdout.readline() == "ready\n"
        started = descendants(trainer.pid)
        assert len(started) >= 3  # the supervisor, the service and its worker
        os.killpg(trainer.pid, kind)
        trainer.communicate(timeout=300)
        until = time.monotonic() + 300
        while any(map(runs, started)):
            assert time.monotonic() < until, f"{[pid for pid in started if runs(pid)]} outlived their trainer"
            time.sleep(0.1)
    finally:
        trainer.kill()
        trainer.wait()


@pytest.mark.parametrize(("side", "kind"), [(1024, "pixels as JSON"), (1200, "a PNG file")])
def test_no_request_is_larger_than_the_service_accepts(side: int, kind: str) -> None:
    (sent,) = live_server.requests_for([np.full((side, side, 3), 255, np.uint8)])
    assert sent.what == kind
    assert len(sent.body) <= Settings().max_body_bytes == live_server.LARGEST_BODY
