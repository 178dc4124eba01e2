"""A finished run: what was trained, and all that is measured of it before anyone judges it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.corrupt import Robustness, robustness
from trainer.data import ImageDataset
from trainer.evaluate import Evaluation, calibrated_temperature, evaluate
from trainer.export import export_saved_model
from trainer.saved import Latency, SavedModel, latency
from trainer.train import TrainResult


@dataclass(frozen=True)
class Run:
    """One finished training run and its directory.

    Attributes:
        evaluation: on the test images, with the temperature fitted on the validation images.
        robustness: on corrupted test images.
        latency: of the model's export.
        per_class: precision, recall, F1 and number of test images by the class's name.
    """

    config: TrainConfig
    directory: Path
    result: TrainResult
    evaluation: Evaluation
    robustness: Robustness
    latency: Latency
    per_class: dict[str, dict[str, float]]

    def evaluation_json(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""
        return self.evaluation.to_json() | self._measured()

    def metrics(self) -> dict[str, Any]:
        """The model card's `metrics`."""
        result, evaluation = self.result, self.evaluation
        measures = ("nll", "brier", "ece")
        return {
            "validation_accuracy": result.validation_accuracy,
            "test_accuracy": evaluation.accuracy,
            "test_interval": list(evaluation.interval),
            **self._measured(),
            "calibration": {
                "temperature": evaluation.temperature,
                "raw": {name: getattr(evaluation.raw, name) for name in measures},
                "calibrated": {name: getattr(evaluation.calibrated, name) for name in measures},
            },
            "parameters": result.model.count_params(),
            "seconds": round(result.seconds, 1),
            "best_epoch": result.best_epoch,
            "history": result.history,
        }

    def _measured(self) -> dict[str, Any]:
        return {
            "per_class": self.per_class,
            "robust_accuracy": self.robustness.mean,
            "robustness": self.robustness.to_json(),
            "latency_ms": self.latency.to_json(),
        }


def evaluated(config: TrainConfig, result: TrainResult, dataset: ImageDataset, directory: Path) -> Run:
    """Measures a trained model. The test images are used here, when training is over, and fit nothing."""
    temperature = calibrated_temperature(result.model, dataset.validation)
    evaluation = evaluate(result.model, dataset.test, len(dataset.classes), temperature)
    robust = robustness(result.model.predict_on_batch, dataset.test)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as export:
        export_saved_model(result.model, Path(export), temperature)
        timed = latency(SavedModel(Path(export)), dataset.test.images)
    return Run(config, directory, result, evaluation, robust, timed, evaluation.per_class(dataset.classes))
