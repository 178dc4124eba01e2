"""Training: one config and one data set in, the best epoch's model out."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import ops

from trainer import batches
from trainer.config import TrainConfig
from trainer.data import ImageDataset
from trainer.models import MODELS
from trainer.optimizers import build_optimizer

# Steps that run in one call from Python; from 50 on, the call's own cost is lost in the steps'.
STEPS_PER_EXECUTION = 50


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C while training; the message says what was kept."""


@dataclass(frozen=True)
class TrainResult:
    """A trained model, at the weights of its best epoch.

    Attributes:
        model: from raw pixels to logits.
        history: one value an epoch of `accuracy`, `loss`, `val_accuracy` and `val_loss`.
        best_epoch: 0-based; the first epoch with the highest validation accuracy.
        seconds: wall time of the training alone.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float

    @property
    def validation_accuracy(self) -> float:
        return self.history["val_accuracy"][self.best_epoch]


def train(config: TrainConfig, dataset: ImageDataset, directory: Path) -> TrainResult:
    """Trains one model and writes `model.keras` and `history.csv` into its run directory.

    Raises:
        InterruptedTraining: Ctrl-C; what was learned so far is in the run directory.
    """
    keras.utils.set_random_seed(config.seed)
    train_batches = batches.TrainingBatches(dataset.train, config)
    model = compiled(config, dataset, train_batches.steps)
    history = keras.callbacks.History()
    # The paper's Algorithm 1: keep an epoch's weights only if it beats every earlier one.
    best = keras.callbacks.EarlyStopping(
        "val_accuracy", mode="max", patience=config.patience or config.epochs, restore_best_weights=True
    )
    start = time.perf_counter()
    try:
        model.fit(
            train_batches.dataset,
            validation_data=batches.evaluation_batches(dataset.validation),
            epochs=config.epochs,
            shuffle=False,  # the pipeline shuffles
            callbacks=[train_batches, best, history],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    except KeyboardInterrupt:
        raise InterruptedTraining(_keep(model, best.best_weights, history.history, directory)) from None
    result = TrainResult(model, history.history, best.best_epoch, time.perf_counter() - start)
    _save(result.model, result.history, directory)
    return result


def compiled(config: TrainConfig, dataset: ImageDataset, steps_per_epoch: int) -> keras.Model:
    """The config's model, compiled for training on the data set."""
    model = MODELS[config.model](dataset.shape, len(dataset.classes), config.dropout)
    model.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        loss=_loss(config.label_smoothing, len(dataset.classes)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=min(STEPS_PER_EXECUTION, steps_per_epoch),
        jit_compile=False,
    )
    return model


def _loss(smoothing: float, classes: int) -> Callable[[Any, Any], Any]:
    """Cross entropy of integer labels against logits."""

    def smoothed(labels: Any, logits: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            ops.one_hot(labels, classes), logits, from_logits=True, label_smoothing=smoothing
        )

    return smoothed if smoothing else keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _keep(model: keras.Model, best_weights: list[Any] | None, history: dict[str, list[float]], directory: Path) -> str:
    if not best_weights:
        return f"Interrupted before the first epoch ended; nothing was learned. The config is in {directory}."
    model.set_weights(best_weights)
    _save(model, history, directory)
    accuracy = max(history["val_accuracy"])
    return (
        f"Interrupted after {len(history['loss'])} epochs. Kept: the best weights so far "
        f"(validation accuracy {accuracy:.4f}) and the history, in {directory}. Nothing was pushed."
    )


def _save(model: keras.Model, history: dict[str, list[float]], directory: Path) -> None:
    written = directory / ".model.keras"  # half a file never has the name that others look for
    try:
        model.save(written)
        written.rename(directory / "model.keras")
    finally:
        written.unlink(missing_ok=True)
    with (directory / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *history])
        writer.writerows([epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True)))
