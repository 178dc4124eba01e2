"""The flatbuffer answers as the SavedModel does, or is not written."""

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from registry.store import FLATBUFFER
from trainer.evaluation.calibration import LOWEST
from trainer.models.cnns import MODELS, fast_form
from trainer.release.export import add_flatbuffer, export_saved_model
from trainer.release.latency import latencies
from trainer.release.thresholds import Thresholds

pytestmark = pytest.mark.tensorflow

TEMPERATURE = 1.5
TOLERANCE = Thresholds.infra_tolerance


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return MODELS["deep"]((28, 28, 1), 10)


@pytest.fixture(scope="module")
def saved_model(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    export_saved_model(fast_form(model), directory, TEMPERATURE)
    return directory


@pytest.fixture(scope="module")
def flatbuffer(model: keras.Model, saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    export_saved_model(model, source, TEMPERATURE)
    add_flatbuffer(source, saved_model, TOLERANCE)
    return saved_model / FLATBUFFER


def test_both_forms_answer_alike_for_any_number_of_images(saved_model: Path, flatbuffer: Path) -> None:
    loaded = tf.saved_model.load(str(saved_model))
    runner = Interpreter(str(flatbuffer)).get_signature_runner("serving_default")
    for count in (1, 3, 32):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1)).astype(np.float32)
        expected = loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"]
        assert np.allclose(runner(images=images)["probabilities"], expected, atol=1e-5)


def test_it_is_made_of_the_operations_that_litert_is_quick_at(flatbuffer: Path) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        tf.lite.experimental.Analyzer.analyze(model_content=flatbuffer.read_bytes())
    operations = re.findall(r"Op#\d+ (\w+)\(", printed.getvalue())
    assert operations.count("CONV_2D") == operations.count("AVERAGE_POOL_2D") == 2
    assert "TRANSPOSE" not in operations


def test_both_forms_are_timed_and_litert_prints_nothing(
    saved_model: Path, flatbuffer: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measured = latencies(saved_model, np.zeros((40, 28, 28, 1), np.uint8))
    assert measured.keys() == {"latency_ms", "litert_latency_ms"}
    assert all(each["batch_size"] == 32 and each["single"] > 0 for each in measured.values())
    assert "XNNPACK" not in capfd.readouterr().err


def test_a_flatbuffer_that_answers_otherwise_is_refused(saved_model: Path, tmp_path: Path) -> None:
    other = MODELS["deep"]((28, 28, 1), 10)
    export_saved_model(other, tmp_path)
    with pytest.raises(ValueError, match=r"must answer as the SavedModel does, within 0\.001\. Received: a difference"):
        add_flatbuffer(saved_model, tmp_path, TOLERANCE)
    assert not (tmp_path / FLATBUFFER).exists()


def test_forms_of_a_model_of_large_images_are_compared_in_little_memory(
    tmp_path: Path, peak: Callable[..., int]
) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((512, 512, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    export_saved_model(model, tmp_path)
    assert peak(lambda: add_flatbuffer(tmp_path, tmp_path, TOLERANCE)) < 50e6


@pytest.mark.parametrize("shape", [(28, 28, 1), (96, 96, 3)])
def test_rounding_at_the_lowest_temperature_refuses_no_model(shape: tuple[int, int, int], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = MODELS["deep"](shape, 10)
    *others, kernel, bias = model.get_weights()
    # Logits of some tens that hardly differ: what rounding does to them, the temperature multiplies by 20.
    model.set_weights([*others, kernel + 10, bias])
    (tmp_path / "source").mkdir()
    (tmp_path / "saved").mkdir()
    export_saved_model(model, tmp_path / "source", LOWEST)
    export_saved_model(fast_form(model), tmp_path / "saved", LOWEST)
    difference = add_flatbuffer(tmp_path / "source", tmp_path / "saved", TOLERANCE)
    assert 0 < difference < 1e-3
    assert (tmp_path / "saved" / FLATBUFFER).exists()
