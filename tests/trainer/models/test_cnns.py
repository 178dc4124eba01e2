"""The two CNNs are the paper's (sections 2.2 and 2.3), for images and classes of any number."""

import keras
import pytest

from trainer.config import MODELS as NAMES
from trainer.models.cnns import MODELS, basic_cnn, deep_cnn

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
