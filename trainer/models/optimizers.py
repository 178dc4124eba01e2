"""Optimizers and learning rate schedules by name, built for one run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from trainer.config import TrainConfig

Rate: TypeAlias = Any  # a number, or one of Keras's schedules

OPTIMIZERS: dict[str, Callable[[Rate, float], keras.Optimizer]] = {
    "sgd": lambda rate, _: keras.optimizers.SGD(rate),
    "momentum": lambda rate, _: keras.optimizers.SGD(rate, momentum=0.9),
    "rmsprop": lambda rate, _: keras.optimizers.RMSprop(rate),
    "adam": lambda rate, _: keras.optimizers.Adam(rate),
    "adamw": lambda rate, decay: keras.optimizers.AdamW(rate, weight_decay=decay),
}


def build_optimizer(config: TrainConfig, steps_per_epoch: int) -> keras.Optimizer:
    """The optimizer of a run of `config.epochs` epochs of `steps_per_epoch` steps."""
    return OPTIMIZERS[config.optimizer](_rate(config, steps_per_epoch), config.weight_decay)


def _rate(config: TrainConfig, steps_per_epoch: int) -> Rate:
    if config.schedule == "constant":
        return config.learning_rate
    total = config.epochs * steps_per_epoch
    warmup = min(math.ceil(config.warmup_epochs * steps_per_epoch), total - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=total - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
