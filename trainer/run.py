"""One training run: from a config to an evaluated model, its numbers and its figures, in a directory of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import keras
import tensorflow as tf

from registry.disk import hashes, write_json, write_whole
from trainer.config import RunOptions, TrainConfig
from trainer.data.checks import fulfilled_by
from trainer.data.dataset import ImageDataset
from trainer.devices import ONE, Devices, alone, resolved
from trainer.evaluation import figures
from trainer.evaluation.fonts import fonts_for
from trainer.evaluation.metrics import calibrated_temperature, evaluate
from trainer.evaluation.robustness import robustness
from trainer.prepare import Prepared
from trainer.release import examples
from trainer.release.card import card_of
from trainer.release.export import export
from trainer.release.finished import EXPORT, Run
from trainer.release.latency import latencies
from trainer.training import checkpoint
from trainer.training.checkpoint import CheckpointError
from trainer.training.fit import TrainResult, train


def train_and_evaluate(
    config: TrainConfig, prepared: Prepared, directory: Path, tensorboard: bool = False, devices: Devices = ONE
) -> Run:
    """One run from config to figures, in a directory that this process has claimed.

    The test images are used when training is over, and fit nothing.
    """
    dataset, inspected = prepared.dataset, prepared.inspected
    print(f"\nTraining {config} (in {resolved(config.precision)})", flush=True)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    write_whole(directory / checkpoint.NAME, dataset.name)
    write_json(directory / "config.json", config.asdict())
    write_json(directory / "statistics.json", inspected.to_json())
    write_json(directory / "schema.json", asdict(fulfilled_by(dataset, inspected.statistics)))
    result = train(config, dataset, directory, tensorboard_callbacks(directory) if tensorboard else [], devices)
    with alone():
        run = _evaluated(config, prepared, directory, result)
    _draw(run, dataset)
    return run


@contextmanager
def directory_for(config: TrainConfig, data: str, options: RunOptions) -> Iterator[Path]:
    """The directory of a run, which no other process can take until the end of the block.

    It is the run to resume where one is named, else an interrupted one of the same config on the same data (`data` is
    its SHA-256) unless the options say `fresh`, else a new one.

    Raises:
        CheckpointError: another process has the run that was to be resumed.
    """
    runs = options.artifacts / "runs"
    with ExitStack() as held:
        directory = None
        if options.resume is None and not options.fresh:
            directory = held.enter_context(checkpoint.unfinished(runs, config, data))
        if directory is None:
            directory = options.resume or _new_directory(runs, config)
            if not held.enter_context(checkpoint.claimed(directory)):
                raise CheckpointError(f"{directory}: another process works on this run; wait for it to end.")
        for unfinished in directory.glob(".*"):  # exports of a process that was killed
            shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        yield directory


def _evaluated(config: TrainConfig, prepared: Prepared, directory: Path, result: TrainResult) -> Run:
    """The run, its numbers and its export; the card comes last, so that what has one is finished."""
    dataset = prepared.dataset
    temperature = calibrated_temperature(result.model, dataset.validation)
    evaluation = evaluate(result.model, dataset.test, len(dataset.classes), temperature)
    robust = robustness(result.model.predict_on_batch, dataset.test)
    staged = directory / f".{EXPORT}"
    staged.mkdir()
    metrics = {
        "validation_accuracy": result.validation_accuracy,
        **evaluation.to_json(dataset.classes),
        "robust_accuracy": robust.mean,
        "robustness": robust.to_json(),
        "familiarity": prepared.novelty_measures,
        "litert": export(result.model, staged, temperature, prepared.thresholds.infra_tolerance),
        **latencies(staged, dataset.test.images),
        "computed": {"backend": keras.backend.backend(), "precision": resolved(config.precision)},
        "parameters": result.model.count_params(),
        "seconds": round(result.seconds, 1),
        "kept_epoch": result.best_epoch + 1,
        "history": result.history,
        "diverged": result.diverged,
    }
    shutil.rmtree(directory / EXPORT, ignore_errors=True)  # of a process that was killed before the run was judged
    staged.rename(directory / EXPORT)
    write_json(directory / "evaluation.json", metrics)
    prepared.novelty.write(directory)
    examples.draw(dataset.test, evaluation.predicted, evaluation.confusion, directory)
    run = Run(config, directory, result, evaluation, robust, metrics)
    replace(card_of(run, dataset, prepared.inspected), files=hashes(run.export)).write(run.export)
    return run


def tensorboard_callbacks(directory: Path) -> list[keras.callbacks.Callback]:
    """The callback that writes logs for TensorBoard into a run's directory; prints how to view them."""
    logs, viewer = directory / "tensorboard", Path(sys.executable).with_name("tensorboard")
    print(f"Logs for TensorBoard; to view them: {viewer} --logdir {logs}", flush=True)
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]


def _new_directory(runs: Path, config: TrainConfig) -> Path:
    """A directory whose name sorts by time and ends with the model's name, without the colon of a user's function."""
    runs.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        directory = runs / f"{stamp}-{config.model.replace(':', '.')}{suffix}"
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
    with fonts_for([title, *dataset.classes]):
        figures.curves(run.result.history, run.result.best_epoch, title, directory / "curves.png")
        figures.confusion_matrix(run.evaluation.confusion, dataset.classes, tested, directory / "confusion.png")
        calibrated = f"{title}: temperature {run.evaluation.temperature:.3f}, test images"
        figures.reliability(run.evaluation.raw, run.evaluation.calibrated, calibrated, directory / "reliability.png")
        robust = f"{title}: accuracy on corrupted test images, {run.robustness.mean:.4f} on average"
        figures.robustness(run.robustness, run.evaluation.accuracy, robust, directory / "robustness.png")
        figures.sheet(dataset.test, run.evaluation.predicted, dataset.classes, tested, directory / "sheet.png")
