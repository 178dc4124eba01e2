"""A finished run: what it learned, how it did, and the export in its directory, which is judged and pushed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from registry.card import ModelCard
from trainer.config import MODELS, TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import Evaluation, evaluate
from trainer.evaluation.robustness import Robustness, robustness
from trainer.models.builders import build
from trainer.training.checkpoint import CheckpointError
from trainer.training.fit import TrainResult

EXPORT = "export"  # in a run's directory: a version, complete but for the verdict


@dataclass(frozen=True)
class Run:
    """One finished training run and its directory; `metrics` is its evaluation.json, and its card's `metrics`."""

    config: TrainConfig
    directory: Path
    result: TrainResult
    evaluation: Evaluation
    robustness: Robustness
    metrics: dict[str, Any]

    @property
    def export(self) -> Path:
        return self.directory / EXPORT

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probabilities (n, classes) of the Keras model for uint8 images, at the temperature of the export."""
        return softmax(self.result.model.predict_on_batch(images), self.evaluation.temperature)


def read(directory: Path, config: TrainConfig, dataset: ImageDataset) -> Run:
    """A finished run from its directory, its model tested again on the same images.

    Raises:
        CheckpointError: the user's function builds another model now.
        ValueError: or it builds none.
    """
    metrics = ModelCard.read(directory / EXPORT).metrics
    model = _model(directory / "model.keras", config, dataset)
    # Runs of earlier versions have `best_epoch`, counted from 0.
    best = metrics["kept_epoch"] - 1 if "kept_epoch" in metrics else metrics["best_epoch"]
    result = TrainResult(model, metrics["history"], best, metrics["seconds"], metrics["diverged"])
    evaluation = evaluate(model, dataset.test, len(dataset.classes), metrics["calibration"]["temperature"])
    return Run(config, directory, result, evaluation, robustness(model.predict_on_batch, dataset.test), metrics)


def _model(file: Path, config: TrainConfig, dataset: ImageDataset) -> keras.Model:
    if config.model in MODELS:
        return keras.saving.load_model(file, compile=False)
    # Built anew, because Keras would not load layers of the user's own.
    model = build(config, dataset.shape, len(dataset.classes))
    try:
        model.load_weights(file)
    except ValueError as error:
        raise CheckpointError(
            f"{file}: its weights are not those of the model that {config.model} builds now. Train again."
        ) from error
    return model
