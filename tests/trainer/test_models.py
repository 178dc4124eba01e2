"""The two CNNs are the paper's, layer by layer (paper, sections 2.2 and 2.3)."""

import keras
import pytest

from trainer.models import MODELS, basic_cnn, deep_cnn

BASIC = [
    ("rescale", (28, 28, 1), 0),
    ("block1", (14, 14, 16), 160),
    ("flatten", (3136,), 0),
    ("dense1", (128,), 401_536),
    ("logits", (10,), 1_290),
]
DEEP = [
    ("rescale", (28, 28, 1), 0),
    ("block1", (14, 14, 16), 160),
    ("conv2", (12, 12, 32), 4_640),
    ("pool2", (6, 6, 32), 0),
    ("flatten", (1152,), 0),
    ("dense1", (256,), 295_168),
    ("dense2", (128,), 32_896),
    ("logits", (10,), 1_290),
]


def described(model: keras.Model) -> list[tuple[str, tuple[int, ...], int]]:
    return [(layer.name, layer.output.shape[1:], layer.count_params()) for layer in model.layers[1:]]


@pytest.mark.parametrize(("name", "layers", "parameters"), [("basic", BASIC, 402_986), ("deep", DEEP, 334_154)])
def test_a_model_has_the_papers_layers(name: str, layers: list, parameters: int) -> None:
    model = MODELS[name]((28, 28, 1), 10)
    assert described(model) == layers
    assert model.count_params() == parameters


def test_pooling_averages_and_every_hidden_layer_is_relu() -> None:
    model = deep_cnn((28, 28, 1), 10)
    for layer in model.layers:
        if layer.name.startswith("pool"):
            assert isinstance(layer, keras.layers.AveragePooling2D)
        if layer.name.startswith(("conv2", "dense")):
            assert layer.activation is keras.activations.relu


def test_dropout_adds_no_parameters() -> None:
    assert basic_cnn((28, 28, 1), 10, dropout=0.3).count_params() == 402_986


@pytest.mark.parametrize("name", MODELS)
def test_a_model_builds_for_other_images_and_classes(name: str) -> None:
    assert MODELS[name]((32, 32, 3), 100).output_shape == (None, 100)
