"""Finished runs on disk: one JSON file each, complete as soon as it has its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from registry.disk import write_whole
from study.experiments import Job, fingerprint
from trainer.config import TrainConfig


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        id, seed, fingerprint: of its job.
        config: training configuration.
        history: `accuracy`, `loss`, `val_accuracy` and `val_loss`, one value per epoch.
        best_epoch: 0-based; the epoch whose weights were tested.
        test_accuracy, test_interval: with the 95 % Wilson interval of a finite test set.
        classes: class names.
        labels, predicted: true and predicted class index of each test image.
        robustness: accuracy by corruption and strength; empty where it was not measured.
        seconds: wall time of the training; None where it was interrupted and resumed.
        environment: machine, versions and commit of the training.
        diverged: when and at which rate the loss became NaN or infinite, which ended the training; else None.
    """

    id: str
    seed: int
    fingerprint: str
    config: dict[str, Any]
    history: dict[str, list[float]]
    best_epoch: int
    test_accuracy: float
    test_interval: list[float]
    classes: list[str]
    labels: list[int]
    predicted: list[int]
    robustness: dict[str, dict[str, float]]
    seconds: float | None
    environment: dict[str, str]
    diverged: str | None = None

    @cached_property
    def confusion(self) -> np.ndarray:
        """int (classes, classes); row: true class, column: predicted class."""
        return confusion_matrix(self.labels, self.predicted, labels=range(len(self.classes)))

    @property
    def correct(self) -> np.ndarray:
        """bool (n,): whether each test image is classified correctly."""
        return np.equal(self.labels, self.predicted)

    @property
    def corrupted(self) -> float:
        """Accuracy on corrupted images, the mean over corruptions of the mean over their strengths."""
        return float(np.mean([np.mean(list(strengths.values())) for strengths in self.robustness.values()]))

    def summary(self) -> dict[str, Any]:
        """The run's entry in `results.json`."""
        left_out = ("fingerprint", "config", "classes", "labels", "predicted")
        return {
            **{key: value for key, value in asdict(self).items() if key not in left_out},
            **{key: self.config[key] for key in ("model", "optimizer", "learning_rate")},
            "validation_accuracy": self.history["val_accuracy"],
            "confusion": self.confusion.tolist(),
        }


def by_epoch(runs: Sequence[Result], metric: str) -> np.ndarray:
    """float (runs, epochs): a metric of the history; NaN after the end of a run that diverged."""
    return np.array(list(zip_longest(*(run.history[metric] for run in runs), fillvalue=np.nan)), float).T


def save(folder: Path, result: Result, job: Job) -> None:
    """Writes a finished run, and removes what it leaves while it is unfinished."""
    write_whole(folder / f"{job.name}.json", json.dumps(asdict(result)))
    remove_attempts(folder, job)


def remove_attempts(folder: Path, job: Job) -> None:
    """Removes what is left of unfinished runs of a job, of earlier versions of its experiment too."""
    for attempt in folder.glob(f".{job.name}-*"):
        shutil.rmtree(attempt)


def load(folder: Path, job: Job) -> Result | str | None:
    """The job's finished run; None where there is none; a sentence about why an existing one cannot be used."""
    path = folder / f"{job.name}.json"
    try:
        result = Result(**json.loads(path.read_text("utf-8")))
        config = TrainConfig(**result.config)  # a setting that is newer than the result has its default, as before
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return f"{job.name}: its result is not readable; it is computed again."
    if config != job.config or result.fingerprint != fingerprint(result.config, job.experiment):
        return f"{job.name}: its result is of another version of the experiment; it is computed again."
    return result
