"""A finished run: what it learned, how it did, and the export in its directory, which is judged and pushed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from registry.card import ModelCard
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import Evaluation, evaluate
from trainer.evaluation.robustness import Robustness, robustness
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
    """A finished run from its directory, its model tested again on the same images."""
    metrics = ModelCard.read(directory / EXPORT).metrics
    model = keras.saving.load_model(directory / "model.keras", compile=False)
    # Runs of earlier versions have `best_epoch`, counted from 0.
    best = metrics["kept_epoch"] - 1 if "kept_epoch" in metrics else metrics["best_epoch"]
    result = TrainResult(model, metrics["history"], best, metrics["seconds"], metrics["diverged"])
    evaluation = evaluate(model, dataset.test, len(dataset.classes), metrics["calibration"]["temperature"])
    return Run(config, directory, result, evaluation, robustness(model.predict_on_batch, dataset.test), metrics)
