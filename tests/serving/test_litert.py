"""LiteRT answers what the SavedModel answers, in a process without TensorFlow."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from registry.card import TensorSpec
from registry.store import FLATBUFFER
from serving.model.litert import LiteRTPredictor
from serving.model.served import ModelError

Expected = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def predictor(models: Path) -> LiteRTPredictor:
    return LiteRTPredictor(models / "fashion_mnist" / "1", 1)


@pytest.fixture
def version(models: Path, tmp_path: Path) -> Path:
    return shutil.copytree(models / "fashion_mnist" / "1", tmp_path / "1")


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1), np.uint8)


def test_it_answers_what_the_model_answers_for_every_batch_size(predictor: LiteRTPredictor, expected: Expected) -> None:
    for count in range(1, 101):
        images = random_images(count)
        assert np.allclose(predictor.predict(images), expected(images), atol=1e-5)


def test_many_threads_may_ask_at_once(predictor: LiteRTPredictor, expected: Expected) -> None:
    batches = [random_images(1 + count % 5) for count in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for batch, answer in zip(batches, answers, strict=True):
        assert np.allclose(answer, expected(batch), atol=1e-5)


def test_a_version_without_a_flatbuffer_is_refused_with_the_way_out(version: Path) -> None:
    (version / FLATBUFFER).unlink()
    with pytest.raises(ModelError, match=r"holds no assets\.extra/model\.tflite: push it again, or set RUNTIME="):
        LiteRTPredictor(version, 1)


@pytest.mark.parametrize("content", [b"", b"\0" * 1000])
def test_a_damaged_flatbuffer_is_refused_in_one_line(version: Path, content: bytes) -> None:
    (version / FLATBUFFER).write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.tflite does not load: .+$"):
        LiteRTPredictor(version, 1)


def test_a_flatbuffer_of_another_shape_than_its_card_is_refused(version: Path, card: Any) -> None:
    replace(card, input=TensorSpec("images", (32, 32, 3), "float32")).write(version)
    with pytest.raises(ModelError, match=r"its shapes must be the card's\. Received: "):
        LiteRTPredictor(version, 1)


def test_a_server_on_litert_answers_alike_and_has_no_tensorflow_in_it(
    models: Path, start: Callable[..., AbstractContextManager[Any]], expected: Expected
) -> None:
    images = random_images(5)
    with start(models, RUNTIME="litert") as server:
        server.wait_until_ready()
        headers = {"Content-Type": "application/octet-stream"}
        reply = requests.post(f"{server.url}/predict", data=images.tobytes(), headers=headers, timeout=300).json()
        workers = server.workers()
        assert "tensorflow" not in Path(f"/proc/{workers[0]}/maps").read_text()
    answers = [[*each["probabilities"].values()] for each in reply["predictions"]]
    assert np.allclose(answers, expected(images), atol=1e-5)
