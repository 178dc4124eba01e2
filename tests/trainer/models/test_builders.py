"""A user's own function names a model; whatever is wrong with it is told in one sentence before anything is trained."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import ROOT
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.models.builders import build, builder
from trainer.models.cnns import fast_form
from trainer.training.checkpoint import CheckpointError
from trainer.training.fit import compiled, train

pytestmark = pytest.mark.tensorflow

SHAPE, CLASSES = (32, 32, 3), 5


def config(function: str, **settings: object) -> TrainConfig:
    return TrainConfig(model=f"my_models:{function}", normalization="none", **settings)


def flat(shape: tuple[int, ...], units: int, *ending: keras.Layer, **options: object) -> keras.Model:
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(units, **options), *ending])


def raising(shape: object, classes: int) -> None:
    raise RuntimeError("out of\nideas")


def two_outputs(shape: tuple[int, ...], classes: int) -> keras.Model:
    images = keras.Input(shape)
    scores = layers.Dense(classes)(layers.Flatten()(images))
    return keras.Model(images, [scores, scores])


def ends_in_an_operation(shape: tuple[int, ...], classes: int) -> keras.Model:
    images = keras.Input(shape)
    return keras.Model(images, keras.ops.softmax(flat(shape, classes)(images)))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The module `my_models`, to put functions into."""
    module = SimpleNamespace(__file__="my_models.py")
    monkeypatch.setitem(sys.modules, "my_models", module)
    return module


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (raising, r"failed for images of shape \(32, 32, 3\) and 5 classes: RuntimeError: out of ideas \(line \d+ of "),
        (lambda: None, "failed for images .*takes 0 positional arguments but 2 were given"),
        (lambda shape, classes: None, r"must return a model .*Received: NoneType, which is no keras\.Model"),
        (lambda shape, classes: flat((28, 28, 3), classes), r"Received: ValueError: .*\(None, 32, 32, 3\)"),
        (lambda shape, classes: flat(shape, classes + 1), r"to logits \(5,\)\. Received: output of shape \(6,\)"),
        (two_outputs, r"Received: output of shape \(5,\) and \(5,\)"),
        (lambda shape, classes: flat(shape, classes, activation="softmax"), "a model that ends in softmax"),
        (lambda shape, classes: flat(shape, classes, layers.Softmax()), "a model that ends in softmax"),
        (lambda shape, classes: flat(shape, classes, layers.Activation("sigmoid")), "a model that ends in sigmoid"),
        (ends_in_an_operation, "a model that ends in softmax"),
    ],
)
def test_a_function_that_builds_no_such_model_is_refused(
    module: SimpleNamespace, function: object, expected: str
) -> None:
    module.function = function
    with pytest.raises(ValueError, match=f"`model` my_models:function .*{expected}") as refused:
        build(config("function"), SHAPE, CLASSES)
    assert "\n" not in str(refused.value)


def test_a_module_or_function_that_is_not_there_is_named(module: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"Received: my_models:absent; my_models\.py has no function absent"):
        builder("my_models:absent")
    with pytest.raises(
        ValueError, match=r"from this directory or PYTHONPATH\. Received: nowhere:f, whose import fails"
    ):
        builder("nowhere:f")


def test_the_functions_of_the_documentation_build_models_of_float32_logits(module: SimpleNamespace) -> None:
    text = (ROOT / "docs" / "training.md").read_text().partition("## Your own architecture")[2]
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], module.__dict__)  # noqa: S102  # the page's own code
    dataset = SimpleNamespace(shape=SHAPE, classes=("a", "b", "c", "d", "e"))
    for function in ("small", "mobilenet"):
        model = compiled(config(function, precision="mixed_bfloat16"), dataset, steps_per_epoch=10_000)
        assert {"float32", "bfloat16"} == {
            layer.compute_dtype for layer in (model.layers[-1], model.layers[1].layers[-1])
        }
        assert not model.jit_compile
        logits = model.predict_on_batch(np.zeros((2, *SHAPE), np.uint8))
        assert (logits.shape, logits.dtype) == ((2, CLASSES), np.float32)
        assert fast_form(model) is model


def test_a_function_that_builds_another_model_than_it_did_does_not_resume_the_run(
    module: SimpleNamespace, sample: ImageDataset, tmp_path: Path
) -> None:
    module.net = flat
    train(config("net", epochs=1), sample, tmp_path)
    module.net = lambda shape, classes: flat(shape, 2 * classes, layers.Dense(classes))
    with pytest.raises(CheckpointError, match="not those of the model that my_models:net builds now"):
        train(config("net", epochs=2), sample, tmp_path)


class Doubled(layers.Identity):
    def call(self, values: Any) -> Any:
        return values * 2


def doubled(values: Any) -> Any:
    return values * 2


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        (Doubled, "Doubled"),
        (lambda: layers.TimeDistributed(Doubled()), "Doubled"),
        (lambda: keras.Sequential([Doubled()]), "Doubled"),
        (lambda: layers.Lambda(lambda values: values * 2), "Lambda"),
        (lambda: layers.Activation(doubled), "doubled"),
        (lambda: layers.Activation(lambda values: values * 2), "a lambda"),
    ],
)
def test_with_jax_layers_that_another_process_could_not_load_are_refused_before_training(
    foreign: Callable[[], keras.Layer], named: str, module: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.net = lambda shape, classes: keras.Sequential([foreign(), flat(shape, classes)])
    build(config("net"), SHAPE, CLASSES)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=rf"KERAS_BACKEND=jax, as another .*Received: a model with {named}\.$"):
        build(config("net"), SHAPE, CLASSES)


class OfKerasHub(layers.Identity):
    pass


def test_with_jax_all_that_keras_can_load_is_accepted(module: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OfKerasHub, "__module__", "keras_hub.src.layers.made")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")

    def net(shape: tuple[int, ...], classes: int) -> keras.Model:
        images = keras.Input(shape)
        values = layers.TimeDistributed(layers.Dense(2, activation="gelu", kernel_initializer="he_normal"))(images)
        values = OfKerasHub()(layers.Activation(keras.ops.relu)(values * 2))
        return keras.Model(images, flat(values.shape[1:], classes)(values))

    module.net = net
    build(config("net"), SHAPE, CLASSES)
