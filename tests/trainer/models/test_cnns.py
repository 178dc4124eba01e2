"""The two CNNs are the paper's (sections 2.2 and 2.3), for images and classes of any number."""

import keras
import numpy as np
import pytest

from trainer.config import MODELS as NAMES
from trainer.models.cnns import MODELS, basic_cnn, deep_cnn, fast_form

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


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_form_has_the_weights_and_the_answers_of_the_model(name: str) -> None:
    model = MODELS[name]((28, 28, 1), 10)
    fast = fast_form(model)
    for ours, theirs in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)).astype(np.float32)
    np.testing.assert_allclose(fast(images), model(images), atol=1e-5)
