"""The whole way: load the data, train, evaluate, choose, export, push."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from registry.card import ModelCard, TensorSpec
from registry.store import ModelStore
from trainer import figures, litert
from trainer.config import TrainConfig
from trainer.data import ImageDataset, load
from trainer.evaluate import Evaluation, evaluate
from trainer.export import INPUT, OUTPUT, export_saved_model
from trainer.train import TrainResult, train

LIBRARIES = ("tensorflow", "keras", "numpy", "tensorflow-datasets")


@dataclass(frozen=True)
class Run:
    """One finished training run and its directory."""

    config: TrainConfig
    directory: Path
    result: TrainResult
    evaluation: Evaluation


def run(configs: Sequence[TrainConfig], artifacts: Path) -> tuple[list[Run], int, ModelStore]:
    """Trains every config, pushes the one with the best validation accuracy.

    Args:
        configs: at least one, all of the same data set.
        artifacts: the directory of data, runs and models.

    Returns:
        The finished runs, the version pushed, and the store it is in.
    """
    dataset = load(configs[0].dataset, artifacts / "data")
    runs = [train_and_evaluate(config, dataset, artifacts / "runs") for config in configs]
    best = max(runs, key=lambda run: run.result.validation_accuracy)
    store = ModelStore(artifacts / "models", dataset.name)
    return runs, push(best, dataset, store), store


def train_and_evaluate(config: TrainConfig, dataset: ImageDataset, runs: Path) -> Run:
    """One run from config to figures; the test images are used once, when training is over."""
    print(f"\nTraining {config}", flush=True)
    directory = _new_directory(runs, config)
    _write_json(directory / "config.json", config.asdict())
    result = train(config, dataset, directory)
    evaluation = evaluate(result.model, dataset.test, len(dataset.classes))
    _write_json(directory / "evaluation.json", evaluation.to_json())
    _draw(Run(config, directory, result, evaluation), dataset)
    return Run(config, directory, result, evaluation)


def push(best: Run, dataset: ImageDataset, store: ModelStore) -> int:
    """Exports a run's model and publishes it as the store's next version.

    Raises:
        RegistryError: it could not be published; the versions there before are untouched.
    """
    with store.stage() as staged:
        export_saved_model(best.result.model, staged)
        litert.convert(staged, staged / litert.FLATBUFFER)
        return store.publish(staged, _card(best, dataset, store.name))


def _card(best: Run, dataset: ImageDataset, name: str) -> ModelCard:
    classes = len(dataset.classes)
    return ModelCard(
        name=name,
        run=best.directory.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=dataset.classes,
        input=TensorSpec(INPUT, dataset.shape, "float32"),
        output=TensorSpec(OUTPUT, (classes,), "float32"),
        data={
            "dataset": dataset.name,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "images": {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        },
        config=best.config.asdict(),
        metrics={
            "validation_accuracy": best.result.validation_accuracy,
            "test_accuracy": best.evaluation.accuracy,
            "test_interval": list(best.evaluation.interval),
            "parameters": best.result.model.count_params(),
            "seconds": round(best.result.seconds, 1),
            "best_epoch": best.result.best_epoch,
            "history": best.result.history,
        },
        libraries={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        commit=_commit(),
    )


def _commit() -> str | None:
    """The commit of the code that trained, marked where files differ from it; None outside a checkout."""
    root = Path(__file__).parent.parent
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


def _new_directory(runs: Path, config: TrainConfig) -> Path:
    """A directory whose name sorts by time and tells the model."""
    runs.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        directory = runs / f"{stamp}-{config.model}{suffix}"
        try:
            directory.mkdir()
        except FileExistsError:  # another run began in the same second
            continue
        return directory
    raise FileExistsError(f"{runs}: a thousand runs began in the same second.")


def _draw(run: Run, dataset: ImageDataset) -> None:
    directory = run.directory / "figures"
    directory.mkdir()
    low, high = run.evaluation.interval
    title = f"{run.config.model} on {dataset.name}"
    tested = f"{title}: test accuracy {run.evaluation.accuracy:.4f} ({low:.4f} to {high:.4f})"
    figures.curves(run.result.history, run.result.best_epoch, title, directory / "curves.png")
    figures.confusion_matrix(run.evaluation.confusion, dataset.classes, tested, directory / "confusion.png")
    figures.sheet(dataset.test, run.evaluation.predicted, dataset.classes, tested, directory / "sheet.png")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
