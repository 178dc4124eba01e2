"""A model by its name: one of `trainer.models.cnns`, or what a user's own function builds, named `module:function`.

Such a function takes what ours take first, the shape of an image (height, width, channels) and the number of classes,
and returns a `keras.Model` from raw pixels 0..255 to logits; its preprocessing is part of the model.
"""

from __future__ import annotations

import importlib
import textwrap
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import layers

from trainer.config import TrainConfig
from trainer.models.cnns import MODELS, Shape, check_size

# A last layer of this kind, or with this activation, makes probabilities.
PROBABILITIES = ("softmax", "sigmoid")
# The packages that Keras itself imports when it loads a model.
KERAS = ("keras", "keras_hub", "keras_cv", "keras_nlp")


def build(config: TrainConfig, shape: Shape, classes: int, fast: bool = False) -> keras.Model:
    """The config's model, from raw pixels (batch, *shape) to float32 logits (batch, classes), at new weights.

    Args:
        fast: for training and serving on a CPU, where the model is one of ours.

    Raises:
        ValueError: the images are too small for the model; or the user's function is not there, fails, or returns
            anything but such a model.
    """
    if config.model not in MODELS:
        return _own(config.model, shape, classes)
    check_size(config.model, shape)
    return MODELS[config.model](shape, classes, config.dropout, config.normalization, fast)


def builder(name: str) -> Callable[[Shape, int], Any]:
    """The user's function `module:function`; Python finds modules in the working directory and on PYTHONPATH.

    Raises:
        ValueError: the module cannot be imported, or has no such function.
    """
    module, _, function = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # the module is the user's, and may raise anything
        raise ValueError(
            "`model` must be MODULE:FUNCTION of a module that can be imported, from this directory or PYTHONPATH. "
            f"Received: {name}, whose import fails: {_described(error)}"
        ) from error
    found = getattr(imported, function, None)
    if not callable(found):
        raise ValueError(
            f"`model` must be MODULE:FUNCTION. Received: {name}; {imported.__file__} has no function {function}."
        )
    return found


def _own(name: str, shape: Shape, classes: int) -> keras.Model:
    """The user's model, its logits in float32 whatever the precision policy."""
    build_it, images = builder(name), keras.Input(shape, name="images")
    expected = f"`model` {name} must return a model from images of shape {shape} to logits ({classes},)"
    try:
        model = build_it(shape, classes)
    except Exception as error:  # the function is the user's, and may raise anything
        frames = traceback.extract_tb(error.__traceback__)[1:2]  # of the function itself
        where = "".join(f" (line {frame.lineno} of {frame.filename})" for frame in frames)
        raise ValueError(
            f"`model` {name} failed for images of shape {shape} and {classes} classes: {_described(error)}{where}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{expected}. Received: {type(model).__name__}, which is no keras.Model.")
    try:
        scores = model(images)
        model.get_config()  # or it could not be saved when it is trained
    except Exception as error:
        raise ValueError(f"{expected}, which Keras can save. Received: {_described(error)}") from error
    shapes = [tuple(each.shape[1:]) for each in keras.tree.flatten(scores)]
    if shapes != [(classes,)]:
        raise ValueError(f"{expected}. Received: output of shape {' and '.join(map(str, shapes))}.")
    if (last := _last(model)) in PROBABILITIES:
        raise ValueError(f"{expected}, without a {last} at its end. Received: a model that ends in {last}.")
    if (backend := keras.backend.backend()) != "tensorflow" and (
        foreign := sorted({*_foreign(keras.saving.serialize_keras_object(model))})
    ):
        raise ValueError(
            f"{expected}, of Keras's own layers and functions alone with KERAS_BACKEND={backend}, as another process "
            f"exports it. Received: a model with {', '.join(foreign)}."
        )
    (scores,) = keras.tree.flatten(scores)
    return keras.Model(images, layers.Activation("linear", dtype="float32", name="logits")(scores), name="own")


def _foreign(saved: Any) -> Iterator[str]:
    """What a process without the user's module could not load of a serialized model, also of what its layers wrap.

    These are classes of other packages, functions (Keras writes its own activations as plain names) and lambdas.
    """
    if isinstance(saved, dict):
        kind, activation = saved.get("class_name"), saved.get("activation")
        if kind == "function":
            name = str(saved["config"])
            if name.partition(">")[0] not in KERAS:  # those of KerasHub are called keras_hub>...
                yield name
        elif kind == "Lambda" or ("module" in saved and str(saved["module"]).partition(".")[0] not in KERAS):
            yield str(kind)
        if isinstance(activation, dict) and "class_name" not in activation:  # how Keras writes a lambda there
            yield "a lambda"
    values = saved.values() if isinstance(saved, dict) else saved if isinstance(saved, list | tuple) else ()
    for each in values:
        yield from _foreign(each)


def _last(model: keras.Model) -> str:
    """The name, in lower case, of the activation or kind of a model's last layer."""
    last = model
    while isinstance(last, keras.Model) and last.layers:
        # A functional model may end in an operation that is no layer, such as `keras.ops.softmax`.
        last = getattr(last, "operations", last.layers)[-1]
    activation = getattr(last, "activation", None)
    return getattr(activation, "__name__", type(last).__name__).lower()


def _described(error: Exception) -> str:
    """An exception's kind and the beginning of its message, in one line."""
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 240)}"
