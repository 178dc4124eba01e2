"""Training: one config and one data set in, the best epoch's model out."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from registry.disk import replacing
from registry.text import counted
from trainer.config import PAPER_MODELS, TrainConfig
from trainer.data import batches
from trainer.data.dataset import ImageDataset
from trainer.devices import ONE, Devices, alone, placed, resolved
from trainer.models.builders import build
from trainer.models.optimizers import build_optimizer
from trainer.training import checkpoint
from trainer.training.checkpoint import CheckpointError
from trainer.training.progress import Progress

# Steps that run in one call from Python; from 50 on, the call's own cost is lost in the steps'.
STEPS_PER_EXECUTION = 50
# Compiling takes as long as some hundred steps.
COMPILED_STEPS = 1000


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C while training; the message says what was kept."""


class DivergedError(ValueError):
    """The loss became NaN or infinite before any epoch was worth keeping; the message says when and at which rate."""


@dataclass(frozen=True)
class TrainResult:
    """A trained model, at the weights of its best epoch.

    Attributes:
        model: from raw pixels to logits, in float32 whatever it was trained in.
        history: one value an epoch of `accuracy`, `loss`, `val_accuracy` and `val_loss`.
        best_epoch: the index in `history` of the epoch that was kept.
        seconds: wall time of the training, of this process alone if the run was resumed.
        diverged: when and at which rate the loss became NaN or infinite, which ended the training; else None.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float
    diverged: str | None = None

    @property
    def validation_accuracy(self) -> float:
        return self.history["val_accuracy"][self.best_epoch]


def train(
    config: TrainConfig,
    dataset: ImageDataset,
    directory: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    devices: Devices = ONE,
) -> TrainResult:
    """Trains one model, resuming from the run directory's newest checkpoint where it has one.

    Writes `model.keras`, `history.csv` and, after each epoch, a checkpoint into the run directory.

    Raises:
        InterruptedTraining: Ctrl-C; what was learned so far is in the run directory.
        CheckpointError: the run directory holds the checkpoint of a training on other data or of another model.
        DivergedError: the loss became NaN or infinite in the first epoch.
        ValueError: the device lacks the precision, devices cannot share such batches, or no model takes such images.
    """
    _check_shares(config, dataset, devices)
    keras.utils.set_random_seed(config.seed)
    train_batches = batches.TrainingBatches(dataset.train, config, devices)
    with placed(devices):
        model = compiled(config, dataset, train_batches.steps, devices)
    progress = Progress(config, dataset.sha256, directory / "checkpoint", devices.is_leader)
    _resume(model, progress, dataset, directory)
    start = time.perf_counter()
    try:
        if not progress.finished and progress.epochs < config.epochs:
            _fit(model, config, dataset, train_batches, progress, callbacks, devices)
    except KeyboardInterrupt:
        with alone():
            raise InterruptedTraining(_keep(config, dataset, progress, directory)) from None
    seconds = time.perf_counter() - start
    if progress.diverged:
        if not progress.best:
            raise DivergedError(f"{progress.diverged} Nothing was learned before; try a lower rate.")
        print(f"{progress.diverged} Training stopped; the best epoch before, {progress.best_epoch + 1}, is kept.")
    with alone():
        kept = _save(config, dataset, progress, directory) if devices.is_leader else model
    return TrainResult(kept, progress.history, progress.best_epoch, seconds, progress.diverged)


def _check_shares(config: TrainConfig, dataset: ImageDataset, devices: Devices) -> None:
    """Raises ValueError for batches that the devices cannot share, or too few images for that."""
    if config.batch_size % devices.shares:
        raise ValueError(
            f"`batch_size` must be a multiple of the {devices.shares} devices that share a batch. "
            f"Received: {config.batch_size}."
        )
    if devices.shares > 1 and (len(dataset.train) < config.batch_size or len(dataset.validation) < devices.shares):
        raise ValueError(
            f"{devices.shares} devices need at least {config.batch_size} training images, which is `batch_size`, and "
            f"{devices.shares} validation images. Received: {len(dataset.train)} and {len(dataset.validation)}."
        )


def _resume(model: keras.Model, progress: Progress, dataset: ImageDataset, directory: Path) -> None:
    """Puts a run back to its newest checkpoint, if it has one."""
    if (saved := checkpoint.newest(directory / "checkpoint")) is None:
        return
    if saved.data != dataset.sha256:
        raise CheckpointError(
            f"{directory}: its checkpoint was trained on other data than there is now. Remove that directory, "
            "or begin a new run with --fresh."
        )
    progress.resume(model, saved)
    print(f"Resuming after epoch {saved.epochs} of {directory}", flush=True)


def _fit(
    model: keras.Model,
    config: TrainConfig,
    dataset: ImageDataset,
    train_batches: batches.TrainingBatches,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    devices: Devices,
) -> None:
    model.fit(
        train_batches.dataset,
        validation_data=batches.evaluation_batches(dataset.validation, devices),
        initial_epoch=progress.epochs,
        epochs=config.epochs,
        shuffle=False,  # the pipeline shuffles
        class_weight=_class_weights(dataset) if config.class_weights else None,
        callbacks=[train_batches, keras.callbacks.TerminateOnNaN(), progress, *callbacks],
        verbose=1 if sys.stdout.isatty() else 2,
    )


def compiled(config: TrainConfig, dataset: ImageDataset, steps_per_epoch: int, devices: Devices = ONE) -> keras.Model:
    """The config's model, compiled for training on the data set, its optimizer built."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(resolved(config.precision))
    try:
        model = build(config, dataset.shape, len(dataset.classes), fast=True)
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        loss=_loss(config.label_smoothing, len(dataset.classes)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # Several steps in one call are a graph error under MirroredStrategy, and each compiles again under JAX.
        steps_per_execution=min(STEPS_PER_EXECUTION, steps_per_epoch) if devices == ONE and _on_tensorflow() else 1,
        jit_compile=not devices.mirrored and _worth_compiling(config, steps_per_epoch),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _worth_compiling(config: TrainConfig, steps_per_epoch: int) -> bool:
    """Whether XLA makes a run shorter: it takes a quarter off a step on a CPU, and some seconds to compile one.

    It does so where most of the work is the `PixelBlock`'s. It computes the residual network's convolutions more slowly
    than TensorFlow does, and draws dropout's random numbers so slowly that a step takes ten times as long. What it does
    for a user's own model is not known.
    """
    if not _on_tensorflow():
        return True
    return config.model in PAPER_MODELS and not config.dropout and config.epochs * steps_per_epoch >= COMPILED_STEPS


def _on_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def _loss(smoothing: float, classes: int) -> Callable[[Any, Any], Any]:
    """Cross entropy of integer labels against logits."""

    def smoothed(labels: Any, logits: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            ops.one_hot(labels, classes), logits, from_logits=True, label_smoothing=smoothing
        )

    return smoothed if smoothing else keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _class_weights(dataset: ImageDataset) -> dict[int, float]:
    """What an image of each class counts in the loss: one over the square root of the class's images, 1 on average.

    The square root, because weights that make up for all of the imbalance would ruin the probabilities.
    """
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return dict(enumerate((weights * counts.sum() / (weights * counts).sum()).tolist()))


def _keep(config: TrainConfig, dataset: ImageDataset, progress: Progress, directory: Path) -> str:
    if not progress.best:
        return f"Interrupted before the first epoch ended; nothing was learned. The config is in {directory}."
    _save(config, dataset, progress, directory)
    return (
        f"Interrupted after {counted(progress.epochs, 'epoch')}. Kept in {directory}: the history and the best weights "
        f"so far (validation accuracy {max(progress.history['val_accuracy']):.4f}). Nothing was pushed. "
        "Run the same command again to resume."
    )


def _save(config: TrainConfig, dataset: ImageDataset, progress: Progress, directory: Path) -> keras.Model:
    """Writes the best epoch's model, in float32 (ours: of Keras's own layers), and the history; returns the model."""
    model = build(config, dataset.shape, len(dataset.classes))
    model.set_weights(progress.best)
    with replacing(directory / "model.keras") as part:
        model.save(part)
    with replacing(directory / "history.csv") as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *progress.history])
        rows = zip(*progress.history.values(), strict=True)
        writer.writerows([epoch, *values] for epoch, values in enumerate(rows, start=1))
    return model
