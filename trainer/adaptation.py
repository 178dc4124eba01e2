"""A recipe adapted to the size of a data set, as a pure function: the same command on the same data trains the same.

The recipes were chosen on 48,000 training images. A set that gives at least 20 steps an epoch and 2,000 in all trains
by the recipe as it is, but for class weights where its classes are unbalanced, and for ties of epochs, which their loss
breaks where there are few validation images. A smaller one gets smaller batches, a rate that suits them, more epochs
with patience, and mild augmentation; where no model is named, the residual network, because the dense layers of the
paper's models learn little from few images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.config import AUGMENTATIONS, TrainConfig
from trainer.data.dataset import ImageDataset

STEPS_AN_EPOCH = 20  # at least
STEPS = 2000  # at least, of a training that patience does not end
SMALLEST_BATCH = 8  # what batch normalization needs
PATIENCE = 4  # one in so many of the epochs
UNBALANCED = 3  # the largest class has more than so many times the images of the smallest
FEW_VALIDATION = 1000  # so few images tell epochs apart by their loss rather than by their accuracy
# What rarely distinguishes classes: a shift by a sixteenth of a side, a rotation by some degrees, other contrast.
SHIFT, MOST_SHIFT, ROTATE, CONTRAST = 1 / 16, 16, 10.0, 0.2
# Settings that may differ from the recipe's, with what they do for a small set.
ADAPTED = {
    "model": "learns more from few images; its recipe applies",
    "batch_size": "smaller batches, so that an epoch has more steps",
    "passes": f"an epoch has {STEPS_AN_EPOCH} steps at least",
    "epochs": f"{STEPS:,} steps in all at least",
    "patience": "stops when the validation accuracy no longer improves",
    "learning_rate": "suits the batch size",
    "shift": "more variety; it rarely distinguishes classes",
    "rotate": "more variety; it rarely distinguishes classes",
    "contrast": "more variety; it rarely distinguishes classes",
    "tie_by_loss": "few validation images: many epochs have equal accuracy",
    "class_weights": "the classes are unbalanced",
}


@dataclass(frozen=True)
class Counts:
    """How many images a data set has: `train` and `test` of each class, `validation` in all; `side` is the shorter."""

    train: tuple[int, ...]
    validation: int
    test: tuple[int, ...]
    side: int

    @classmethod
    def of(cls, dataset: ImageDataset) -> Counts:
        train, test = (
            tuple(np.bincount(split.labels, minlength=len(dataset.classes)).tolist())
            for split in (dataset.train, dataset.test)
        )
        return cls(train, len(dataset.validation), test, min(dataset.shape[:2]))


def adapted(recipe: TrainConfig, counts: Counts, given: Mapping[str, Any]) -> TrainConfig:
    """The recipe for a set of so many images, with the settings that the user gave, which always win."""

    settings = dict(given)
    images, small = sum(counts.train), is_small(recipe, counts)
    unbalanced = max(counts.train) > UNBALANCED * min(counts.train)
    settings.setdefault("class_weights", recipe.class_weights or unbalanced)
    settings.setdefault("tie_by_loss", recipe.tie_by_loss or counts.validation < FEW_VALIDATION)
    if small:
        batch = 2 ** max(0, (images // STEPS_AN_EPOCH).bit_length() - 1)
        batch = settings.setdefault("batch_size", max(SMALLEST_BATCH, batch))
        settings.setdefault("learning_rate", _scaled(recipe, batch, given))
        steps = math.ceil(images / batch)
        settings.setdefault("passes", max(recipe.passes, math.ceil(STEPS_AN_EPOCH / steps)))
    # A large batch that the user gave to a large set changes nothing else.
    epochs = math.ceil(STEPS / steps_an_epoch(replace(recipe, **settings) if small else recipe, images))
    if epochs > recipe.epochs:
        if "epochs" not in given:  # who gives a number of epochs wants them all
            settings["epochs"] = epochs
            settings.setdefault("patience", max(recipe.patience, epochs // PATIENCE))
        if any(getattr(recipe, name) for name in AUGMENTATIONS):  # else the recipe is meant to be plain
            shift = min(MOST_SHIFT, round(SHIFT * counts.side))
            settings.setdefault("shift", max(recipe.shift, shift))
            settings.setdefault("rotate", max(recipe.rotate, ROTATE))
            settings.setdefault("contrast", max(recipe.contrast, CONTRAST))
    return replace(recipe, **settings)


def is_small(recipe: TrainConfig, counts: Counts) -> bool:
    """Whether the recipe's batches give too few steps an epoch."""
    return sum(counts.train) < STEPS_AN_EPOCH * recipe.batch_size


def steps_an_epoch(config: TrainConfig, images: int) -> int:
    """How many batches an epoch of so many training images has."""
    return config.passes * math.ceil(images / config.batch_size)


def _scaled(recipe: TrainConfig, batch_size: int, given: Mapping[str, Any]) -> float:
    """The recipe's learning rate for another batch size, to three figures.

    Source: S. Malladi et al., "On the SDEs and scaling rules for adaptive gradient algorithms" (2022), by which the
    rate of Adam and RMSprop goes with the square root of the batch size; that of SGD goes with the batch size itself
    (P. Goyal et al., "Accurate, large minibatch SGD", 2017).
    """
    ratio = batch_size / recipe.batch_size
    plain = given.get("optimizer", recipe.optimizer) in ("sgd", "momentum")
    return float(f"{recipe.learning_rate * (ratio if plain else math.sqrt(ratio)):.3g}")


def changes(recipe: TrainConfig, config: TrainConfig) -> list[list[str]]:
    """A row for each setting that was adapted: as an option, what the recipe has, and why."""
    rows = []
    for name, reason in ADAPTED.items():
        before, after = getattr(recipe, name), getattr(config, name)
        if before != after:
            option = f"--{name.replace('_', '-')}"
            values = ["", ""] if isinstance(after, bool) else [f" {_short(after)}", f"instead of {_short(before)}"]
            rows.append([option + values[0], values[1], reason])
    return rows


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
