"""Two CNNs are the paper's (sections 2.2 and 2.3); all are for images and classes of any number."""

import keras
import numpy as np
import pytest

from trainer.config import MODELS as NAMES
from trainer.config import NORMALIZATIONS
from trainer.data.dataset import ImageDataset
from trainer.models.cnns import MODELS, basic_cnn, deep_cnn, fast_form, residual_cnn

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(("name", "parameters"), [("basic", 402_986), ("deep", 334_154)])
def test_a_model_has_as_many_parameters_as_the_papers(name: str, parameters: int) -> None:
    assert MODELS[name]((28, 28, 1), 10).count_params() == parameters


def test_pooling_averages_and_every_hidden_layer_is_relu() -> None:
    model = deep_cnn((28, 28, 1), 10)
    for layer in model.layers:
        if layer.name.startswith("pool"):
            assert isinstance(layer, keras.layers.AveragePooling2D)
        if layer.name.startswith(("conv2", "dense")):
            assert layer.activation is keras.activations.relu


def test_dropout_adds_no_parameters() -> None:
    assert basic_cnn((28, 28, 1), 10, dropout=0.3).count_params() == 402_986


@pytest.mark.parametrize("name", NAMES)
def test_every_model_that_a_config_may_name_builds_for_other_images_and_classes(name: str) -> None:
    assert MODELS[name]((32, 32, 3), 100).output_shape == (None, 100)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_the_fast_form_has_the_answers_of_the_model(name: str, normalization: str) -> None:
    generator = np.random.default_rng(0)
    model = MODELS[name]((28, 28, 1), 10, normalization=normalization)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # as if it had been trained
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    fast = fast_form(model)
    images = generator.integers(0, 256, (8, 28, 28, 1)).astype(np.float32)
    np.testing.assert_allclose(fast(images), model(images), atol=1e-5)


def test_the_fast_form_has_no_batch_normalization() -> None:
    kinds = {type(layer) for layer in fast_form(residual_cnn((28, 28, 1), 10)).layers}
    assert keras.layers.BatchNormalization not in kinds


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 30, 3), (64, 64, 3)])
def test_the_residual_network_has_at_most_half_a_million_parameters_for_images_of_any_shape(
    shape: tuple[int, int, int],
) -> None:
    model = residual_cnn(shape, 10)
    assert model.count_params() <= 500_000
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_standardizing_model_answers_alike_in_any_light(name: str, sample: ImageDataset) -> None:
    keras.utils.set_random_seed(0)
    model = MODELS[name]((28, 28, 1), 10, normalization="standardize")
    images = sample.train.images[:32].astype(np.float32)
    logits = model(images)
    assert np.abs(model(images / 2 + 60) - logits).max() < 0.3 * np.ptp(logits, axis=0).max()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_standardizing_leaves_a_blank_image_blank_and_subtracts_and_divides_in_float32(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = deep_cnn((28, 28, 1), 10, normalization="standardize")
    finally:
        keras.config.set_dtype_policy(before)
    standardize = keras.Model(model.input, model.get_layer("standardize").output)
    blank = np.full((1, 28, 28, 1), 255, np.float32)
    assert (standardize(blank) == 0).numpy().all()
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1)).astype(np.float32)
    expected = (images - images.mean(axis=(1, 2, 3), keepdims=True)) / images.std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(standardize(images), expected, atol=0.02)  # the floor takes a little off
    assert standardize(images).dtype == "float32"
