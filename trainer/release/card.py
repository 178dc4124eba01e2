"""The model card of a run: what its version will say of itself."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from registry.card import ModelCard, TensorSpec
from trainer.data.dataset import ImageDataset
from trainer.data.schema import Inspection
from trainer.devices import resolved
from trainer.evaluation.metrics import Evaluation
from trainer.release.export import INPUT, OUTPUT
from trainer.release.finished import Run
from trainer.release.look import look

LIBRARIES: tuple[str, ...] = ("tensorflow", "keras", "numpy", "tensorflow-datasets")


def card_of(
    best: Run, dataset: ImageDataset, inspected: Inspection, novelty: dict[str, Any], litert: dict[str, float | str]
) -> ModelCard:
    """The card of a run's model, not yet judged.

    Args:
        novelty: how well images unlike the data set's are recognised.
        litert: how far the probabilities of the flatbuffer differ, or why there is none.
    """
    classes = len(dataset.classes)
    return ModelCard(
        name=dataset.name,
        run=best.directory.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=dataset.classes,
        input=TensorSpec(INPUT, dataset.shape, "float32"),
        output=TensorSpec(OUTPUT, (classes,), "float32"),
        data={
            "dataset": dataset.name,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "images": {name: len(split) for name, split in dataset.splits.items()},
            "statistics": inspected.statistics.to_json(),
            "anomalies": list(inspected.anomalies),
            "look": look(dataset.train),
        },
        config=best.config.asdict(),
        metrics={
            "validation_accuracy": best.result.validation_accuracy,
            "test_accuracy": best.evaluation.accuracy,
            "test_interval": list(best.evaluation.interval),
            "per_class": best.per_class,
            "calibration": _calibration(best.evaluation),
            "robust_accuracy": best.robustness.mean,
            "robustness": best.robustness.to_json(),
            "familiarity": novelty,
            "litert": litert,
            "latency_ms": best.latency.to_json(),
            "computed": {"backend": keras.backend.backend(), "precision": resolved(best.config.precision)},
            "parameters": best.result.model.count_params(),
            "seconds": round(best.result.seconds, 1),
            "best_epoch": best.result.best_epoch,
            "history": best.result.history,
            "diverged": best.result.diverged,
        },
        libraries={"python": platform.python_version(), **{name: version(name) for name in _libraries()}},
        commit=commit(),
    )


def _libraries() -> tuple[str, ...]:
    return (*LIBRARIES, "jax") if keras.backend.backend() == "jax" else LIBRARIES


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    measures = ("nll", "brier", "ece")
    return {
        "temperature": evaluation.temperature,
        "raw": {name: getattr(evaluation.raw, name) for name in measures},
        "calibrated": {name: getattr(evaluation.calibrated, name) for name in measures},
    }


def commit() -> str | None:
    """The commit of the code that trained, marked where files differ from it; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return described.stdout.strip() or None
