"""The flatbuffer answers as the SavedModel does, or is not written."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from trainer import litert
from trainer.export import export_saved_model
from trainer.models import MODELS


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    export_saved_model(MODELS["deep"]((28, 28, 1), 10), directory)
    return directory


def test_both_forms_answer_alike_for_any_number_of_images(saved_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "assets.extra" / "model.tflite"
    litert.convert(saved_model, target)
    model = tf.saved_model.load(str(saved_model))
    runner = Interpreter(str(target)).get_signature_runner("serving_default")
    for count in (1, 3, 32):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1)).astype(np.float32)
        expected = model.signatures["serving_default"](images=tf.constant(images))["probabilities"]
        assert np.allclose(runner(images=images)["probabilities"], expected, atol=1e-5)


def test_a_flatbuffer_that_answers_otherwise_is_refused(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"must answer as the SavedModel does, within -1\.0\. Received: a difference"):
        litert.convert(saved_model, tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()
