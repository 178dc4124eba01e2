"""Finished runs on disk: one JSON file each, whole once it has its name."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from study.experiments import Job


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        id, seed, fingerprint: of its job.
        config: of its training.
        history: one value an epoch of `accuracy`, `loss`, `val_accuracy` and `val_loss`.
        best_epoch: 0-based; the epoch whose weights were tested.
        test_accuracy, test_interval: with the 95 % Wilson interval of a finite test set.
        classes: their names.
        labels, predicted: of each test image, the true class and the one that the model names.
        robustness: accuracy by corruption and strength; empty where it was not asked for.
        seconds: wall time of the training; None where it was interrupted and went on.
        environment: machine, versions and commit that it was trained with.
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

    @cached_property
    def confusion(self) -> np.ndarray:
        """int (classes, classes); row: true class, column: predicted class."""
        counts = np.zeros((len(self.classes),) * 2, int)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def summary(self) -> dict[str, Any]:
        """What `results.json` tells of it."""
        return {
            "id": self.id,
            **{key: self.config[key] for key in ("model", "optimizer", "learning_rate")},
            "seed": self.seed,
            "validation_accuracy": self.history["val_accuracy"],
            "test_accuracy": self.test_accuracy,
            "seconds": self.seconds,
            **{key: getattr(self, key) for key in ("best_epoch", "test_interval", "history", "robustness")},
            "confusion": self.confusion.tolist(),
            "environment": self.environment,
        }


def write(path: Path, content: Any) -> None:
    """JSON beside its place, then renamed into it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def keep(folder: Path, result: Result, job: Job) -> None:
    write(folder / f"{job.name}.json", asdict(result))


def kept(folder: Path, job: Job) -> Result | str | None:
    """The job's finished run; a sentence where one is there that cannot be used; None where there is none."""
    path = folder / f"{job.name}.json"
    try:
        result = Result(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return f"{job.name}: the kept result is not readable; it is computed anew."
    if result.fingerprint != job.fingerprint:
        return f"{job.name}: the kept result is of another version of the experiment; it is computed anew."
    return result
