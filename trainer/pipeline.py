"""The whole way: load the data, train, evaluate, choose, export, judge, push."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import keras
import tensorflow as tf

from registry.card import ModelCard, TensorSpec
from registry.store import ModelStore
from trainer import checkpoint, figures
from trainer.config import TrainConfig
from trainer.data import ImageDataset, load
from trainer.export import INPUT, OUTPUT
from trainer.gate import Verdict
from trainer.judge import judge
from trainer.push import candidate, push
from trainer.run import Run, evaluated
from trainer.thresholds import thresholds_for
from trainer.train import train

LIBRARIES = ("tensorflow", "keras", "numpy", "tensorflow-datasets")


class RefusedError(RuntimeError):
    """The gate refused the best model, and nobody forced it; nothing was pushed.

    Attributes:
        runs: the finished runs.
        best: the one that was judged.
        verdict: why.
    """

    def __init__(self, runs: Sequence[Run], best: Run, verdict: Verdict) -> None:
        super().__init__(" ".join(verdict.reasons))
        self.runs, self.best, self.verdict = runs, best, verdict


def run(
    configs: Sequence[TrainConfig],
    artifacts: Path,
    *,
    resume: Path | None = None,
    fresh: bool = False,
    tensorboard: bool = False,
    overrides: Mapping[str, float] | None = None,
    reason: str | None = None,
) -> tuple[list[Run], int, ModelStore]:
    """Trains every config, judges the one with the best validation accuracy, and pushes it if it may be served.

    Args:
        configs: at least one, all of the same data set.
        artifacts: the directory of data, runs and models.
        resume: the directory of the interrupted run to go on with; left out, one of the same config is looked for.
        fresh: look for none.
        tensorboard: write logs for TensorBoard into the run directories.
        overrides: thresholds of the gate by name, instead of the data set's own.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.

    Returns:
        The finished runs, the version pushed, and the store it is in.

    Raises:
        RefusedError: the gate refused the model. The verdict is in its run directory.
        RegistryError: it could not be published; the versions there before are untouched.
    """
    dataset = load(configs[0].dataset, artifacts / "data")
    thresholds = thresholds_for(dataset.name, overrides)
    runs = []
    for config in configs:
        found = None if fresh else checkpoint.unfinished(artifacts / "runs", config)
        directory = resume or found or _new_directory(artifacts / "runs", config)
        runs.append(train_and_evaluate(config, dataset, directory, tensorboard))
    best = max(runs, key=lambda run: run.result.validation_accuracy)
    store = ModelStore(artifacts / "models", dataset.name)
    card = _card(best, dataset, store.name)
    with candidate(best.result.model, best.evaluation.temperature, card, best.directory) as judged:
        verdict = judge(card, judged.root, best.evaluation, best.robustness, dataset, store, thresholds)
        if reason and not verdict.accepted:
            verdict = replace(verdict, forced=reason, forced_by=_user())
        _write_json(best.directory / "verdict.json", verdict.to_json())
        if not verdict.accepted and not verdict.forced:
            raise RefusedError(runs, best, verdict)
        return runs, push(judged, card, verdict, best.directory / "figures", store), store


def train_and_evaluate(config: TrainConfig, dataset: ImageDataset, directory: Path, tensorboard: bool = False) -> Run:
    """One run from config to figures; the test images are used when training is over, and fit nothing.

    Raises:
        CheckpointError: another process trains this run.
    """
    print(f"\nTraining {config}", flush=True)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    with checkpoint.claimed(directory) as free:
        if not free:
            raise checkpoint.CheckpointError(f"{directory}: another process trains this run.")
        _write_json(directory / "config.json", config.asdict())
        result = train(config, dataset, directory, _tensorboard(directory) if tensorboard else [])
        finished = evaluated(config, result, dataset, directory)
        _write_json(directory / "evaluation.json", finished.evaluation_json())
        _draw(finished, dataset)
        shutil.rmtree(directory / "checkpoint")  # a finished run needs it no more
    return finished


def _tensorboard(directory: Path) -> list[keras.callbacks.Callback]:
    logs = directory / "tensorboard"
    print(f"Logs for TensorBoard: tensorboard --logdir {logs} (pip install tensorboard)", flush=True)
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]


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
        metrics=best.metrics(),
        libraries={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        commit=_commit(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"


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
    directory.mkdir(exist_ok=True)
    low, high = run.evaluation.interval
    title = f"{run.config.model} on {dataset.name}"
    tested = f"{title}: test accuracy {run.evaluation.accuracy:.4f} ({low:.4f} to {high:.4f})"
    figures.curves(run.result.history, run.result.best_epoch, title, directory / "curves.png")
    figures.confusion_matrix(run.evaluation.confusion, dataset.classes, tested, directory / "confusion.png")
    calibrated = f"{title}: temperature {run.evaluation.temperature:.3f}, test images"
    figures.reliability(run.evaluation.raw, run.evaluation.calibrated, calibrated, directory / "reliability.png")
    robust = f"{title}: accuracy on corrupted test images, {run.robustness.mean:.4f} on average"
    figures.robustness(run.robustness, run.evaluation.accuracy, robust, directory / "robustness.png")
    figures.sheet(dataset.test, run.evaluation.predicted, dataset.classes, tested, directory / "sheet.png")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
