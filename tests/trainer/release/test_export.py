"""The SavedModel takes raw pixels in a named input and gives what its Keras twin gives."""

import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.dataset import ImageDataset
from trainer.models.cnns import deep_cnn
from trainer.release.export import export_saved_model, serving_model
from trainer.release.latency import latencies

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    model = deep_cnn((28, 28, 1), 10, dropout=0.5)
    folder = tmp_path_factory.mktemp("export")
    export_saved_model(model, folder)
    return model, tf.saved_model.load(str(folder))


def test_the_signature_is_named_and_its_batch_dimension_is_free(exported: tuple) -> None:
    signature = exported[1].signatures["serving_default"]
    assert signature.structured_input_signature[1]["images"] == tf.TensorSpec((None, 28, 28, 1), name="images")
    assert signature.structured_outputs["probabilities"].shape.as_list() == [None, 10]


@pytest.mark.parametrize("count", [1, 7, 200])
def test_the_export_agrees_with_its_keras_model(exported: tuple, sample: ImageDataset, count: int) -> None:
    model, loaded = exported
    images = sample.test.images[:count].astype(np.float32)
    answer = loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"].numpy()
    np.testing.assert_allclose(answer, serving_model(model)(images)["probabilities"], atol=1e-5)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answer, tf.nn.softmax(model.predict(images, verbose=0)), atol=1e-5)


def test_the_temperature_divides_the_logits_before_the_softmax(exported: tuple, sample: ImageDataset) -> None:
    images = sample.test.images[:20].astype(np.float32)
    cooled = serving_model(exported[0], temperature=0.25)(images)["probabilities"]
    np.testing.assert_allclose(cooled, tf.nn.softmax(4 * exported[0].predict(images, verbose=0)), atol=1e-5)


def test_an_export_is_a_plain_saved_model(exported: tuple, tmp_path: Path) -> None:
    export_saved_model(exported[0], tmp_path)
    assert (tmp_path / "saved_model.pb").is_file()
    assert (tmp_path / "variables" / "variables.index").is_file()


def test_a_model_of_large_images_is_timed_on_a_smaller_batch(tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((512, 512, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    export_saved_model(model, tmp_path)
    assert latencies(tmp_path, np.zeros((32, 512, 512, 3), np.uint8))["latency_ms"]["batch_size"] == 1


def test_an_export_by_another_process_that_is_killed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(OSError, match=r"could not be written to .*: its process ended with status -9\."):
        export_saved_model(model, tmp_path)
