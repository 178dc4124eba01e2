"""The predictor over a real SavedModel: what it answers, and what it will not load."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.card import CARD_PATH, CardError, ModelCard, TensorSpec
from registry.store import ModelStore
from serving.model import tensorflow
from serving.model.served import ModelError
from serving.model.tensorflow import SavedModelPredictor
from tests.serving.conftest import make_card

pytestmark = pytest.mark.tensorflow

Expected = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture
def version(models: Path, tmp_path: Path) -> Path:
    """A version directory to break."""
    return shutil.copytree(models / "fashion_mnist" / "1", tmp_path / "1")


@pytest.fixture(scope="module")
def predictor(models: Path) -> SavedModelPredictor:
    return SavedModelPredictor(models / "fashion_mnist" / "1", 1)


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1), np.uint8)


@pytest.mark.parametrize("count", range(1, 101))
def test_it_answers_what_the_model_answers(predictor: SavedModelPredictor, expected: Expected, count: int) -> None:
    images = random_images(count)
    probabilities = predictor.predict(images)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (count, 10)
    assert np.allclose(probabilities, expected(images), atol=1e-5)


def test_an_image_is_answered_alike_alone_and_in_company(predictor: SavedModelPredictor) -> None:
    images = random_images(32)
    alone = np.concatenate([predictor.predict(image[None]) for image in images])
    assert np.allclose(predictor.predict(images), alone, atol=1e-6)


def test_all_sizes_answer_alike_when_xla_may_compile_them(models: Path, expected: Expected) -> None:
    predictor = SavedModelPredictor(models / "fashion_mnist" / "1", 1, xla=True)
    for count in (1, 2, 3, 8, 31, 100):
        assert np.allclose(predictor.predict(random_images(count)), expected(random_images(count)), atol=1e-5)


def test_a_model_that_xla_cannot_compile_is_served_without_it(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(tf.reshape(tf.image.resize(images, (2, 5), "bicubic"), (-1, 10)))}

    version, images = publish_function(tmp_path, serve, make_card()), random_images(3)
    plain, compiled = (SavedModelPredictor(version, 1, xla=xla).predict(images) for xla in (False, True))
    assert np.array_equal(plain, compiled)


def test_the_model_meets_a_few_fixed_batch_sizes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever clients send, for TensorFlow keeps memory, and XLA compiles, for each size that it meets."""
    # Whether a larger size pays is measured, and a moment's other work may say no.
    monkeypatch.setattr(tensorflow, "pays", lambda _: True)
    predictor = SavedModelPredictor(publish_counting_model(tmp_path), 1)
    met = {int(size) for count in range(1, 101) for size in predictor.predict(random_images(count)).argmax(axis=1)}
    assert met == {1, 2, 4, 8, 16, 32, 64}


def publish_counting_model(root: Path) -> Path:
    """A version that calls each image by the number of images in its batch: class 3 in a batch of three."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(images)[0]
        return {"probabilities": tf.one_hot(tf.fill([count], count), 128)}

    return publish_function(root, serve, make_card(tuple(map(str, range(128)))))


def publish_function(root: Path, serve: Any, card: ModelCard) -> Path:
    """A version whose signature is this function."""
    import tensorflow as tf

    store = ModelStore(root, card.name)
    with store.stage() as staged:
        tf.saved_model.save(tf.Module(), str(staged), signatures={"serving_default": serve})
        return store.path(store.publish(staged, card))


def test_many_threads_may_ask_at_once(predictor: SavedModelPredictor, expected: Expected) -> None:
    batches = [random_images(1 + count % 5) for count in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for batch, answer in zip(batches, answers, strict=True):
        assert np.allclose(answer, expected(batch), atol=1e-5)


def test_it_carries_its_version_and_its_card(predictor: SavedModelPredictor) -> None:
    assert predictor.version == 1
    assert predictor.card.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    "file", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize("content", [None, b"", b"\0" * 100])
def test_a_damaged_version_is_refused_in_one_line(version: Path, file: str, content: bytes | None) -> None:
    (version / file).unlink()
    if content is not None:
        (version / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"^.*/1 does not load: \w+: .+$") as caught:
        SavedModelPredictor(version, 1)
    assert "\n" not in str(caught.value)


def test_a_version_without_a_card_is_refused(version: Path) -> None:
    (version / CARD_PATH).unlink()
    with pytest.raises(CardError, match=r"^There is no model card at "):
        SavedModelPredictor(version, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input": TensorSpec("pixels", (28, 28, 1), "float32")},
            r"^The SavedModel's input must be pixels, ",
        ),
        (
            {"input": TensorSpec("images", (28, 28, 1), "uint8")},
            r"^The SavedModel's input must be images, uint8",
        ),
        (
            {"input": TensorSpec("images", (32, 32, 3), "float32")},
            r"^The SavedModel's input must be images, ",
        ),
        (
            {"input": TensorSpec("images", (784,), "float32")},
            r"^The card's input must be \(height, width, 1 or 3\)",
        ),
        ({"output": TensorSpec("logits", (10,), "float32")}, r"^The SavedModel's output must be logits, "),
        (
            {"classes": ("Boot", "Bag")},
            r"^The card's output must be float32 of \(2,\), one a class\. Received: ",
        ),
    ],
)
def test_a_model_that_is_not_what_its_card_says_is_refused(
    version: Path, card: ModelCard, change: dict[str, object], message: str
) -> None:
    replace(card, **change).write(version)
    with pytest.raises(ModelError, match=message):
        SavedModelPredictor(version, 1)


@pytest.mark.parametrize("value", [np.nan, 1e38])
def test_a_model_that_does_not_answer_with_probabilities_is_refused(
    tmp_path: Path, publish: Callable[..., Path], card: ModelCard, value: float
) -> None:
    weights = np.full((784, 10), value, np.float32)
    directory = publish(tmp_path, weights, card)
    with pytest.raises(ModelError, match=r"must answer with probabilities\. Received: \[nan, "):
        SavedModelPredictor(directory, 1)
