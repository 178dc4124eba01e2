"""Mixed precision is used where the device has it; what is kept and exported is float32."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.devices import resolved
from trainer.release.export import export_saved_model
from trainer.training.fit import compiled, train

pytestmark = pytest.mark.tensorflow

CONFIG = TrainConfig(optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=5, precision="mixed_bfloat16")
CPU_ONLY = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="this machine has a GPU")


@CPU_ONLY
def test_auto_is_float32_on_a_cpu() -> None:
    assert resolved("auto") == "float32"


@CPU_ONLY
def test_float16_is_refused_on_a_cpu_with_the_ways_out() -> None:
    with pytest.raises(ValueError, match=r"This machine has a CPU: use float32, or mixed_bfloat16"):
        resolved("mixed_float16")


def test_a_mixed_model_computes_in_bfloat16_and_ends_in_float32(sample: ImageDataset) -> None:
    model = compiled(CONFIG, sample, 10)
    assert model.get_layer("block1").compute_dtype == "bfloat16"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


def test_a_mixed_run_learns_and_its_export_agrees_with_its_model(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(CONFIG, sample, tmp_path)
    assert result.validation_accuracy > 0.4
    images = sample.test.images.astype(np.float32)
    export = tmp_path / "export"
    export_saved_model(result.model, export)
    signature = tf.saved_model.load(str(export)).signatures["serving_default"]
    answer = signature(images=tf.constant(images))["probabilities"]
    assert answer.dtype == tf.float32
    np.testing.assert_allclose(answer, tf.nn.softmax(result.model.predict(images, verbose=0)), atol=1e-5)
    # And with the model as it was trained, within bfloat16's three digits; of 200 images, one may be far from sure.
    trained = compiled(CONFIG, sample, 10)
    trained.set_weights(result.model.get_weights())
    differences = np.abs(answer - tf.nn.softmax(trained.predict(images, verbose=0)))
    assert differences.max(axis=1).mean() < 0.02
