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
from trainer.release.saved import Latency
from trainer.training.fit import TrainResult

EXPORT = "export"  # in a run's directory: a version, complete but for the verdict


@dataclass(frozen=True)
class Run:
    """One finished training run and its directory."""

    config: TrainConfig
    directory: Path
    result: TrainResult
    evaluation: Evaluation
    robustness: Robustness
    latency: Latency
    per_class: dict[str, dict[str, float]]

    @property
    def export(self) -> Path:
        return self.directory / EXPORT

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probabilities (n, classes) of the Keras model for uint8 images, at the temperature of the export."""
        return softmax(self.result.model.predict_on_batch(images), self.evaluation.temperature)

    def measures(self) -> dict[str, Any]:
        """The content of evaluation.json."""
        return self.evaluation.to_json() | {
            "per_class": self.per_class,
            "robust_accuracy": self.robustness.mean,
            "robustness": self.robustness.to_json(),
            "latency_ms": self.latency.to_json(),
        }


def measured(
    config: TrainConfig,
    directory: Path,
    result: TrainResult,
    dataset: ImageDataset,
    temperature: float,
    latency: Latency,
) -> Run:
    """The run, its model measured on the test images, which fit nothing."""
    evaluation = evaluate(result.model, dataset.test, len(dataset.classes), temperature)
    robust = robustness(result.model.predict_on_batch, dataset.test)
    return Run(config, directory, result, evaluation, robust, latency, evaluation.per_class(dataset.classes))


def read(directory: Path, config: TrainConfig, dataset: ImageDataset) -> Run:
    """A finished run from its directory, its model measured anew on the same test images."""
    metrics = ModelCard.read(directory / EXPORT).metrics
    result = TrainResult(
        keras.saving.load_model(directory / "model.keras", compile=False),
        **{name: metrics[name] for name in ("history", "best_epoch", "seconds", "diverged")},
    )
    temperature, latency = metrics["calibration"]["temperature"], Latency(**metrics["latency_ms"])
    return measured(config, directory, result, dataset, temperature, latency)
