"""One run of the study: prepare the data, train, test. Only workers import this file, and TensorFlow with it."""

from __future__ import annotations

import platform
import shutil
from functools import cache
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from joblib import cpu_count

from study.experiments import STRENGTHS, Job
from study.preparations import PREPARATIONS
from study.results import Result, keep
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset, Split
from trainer.data.load import load
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.robustness import corrupted
from trainer.release.card import LIBRARIES, commit
from trainer.training.fit import train

FOLDER = "folder:"


def data(config: TrainConfig, study: Path) -> ImageDataset:
    """An experiment's data set; a folder of pictures lies in the study's directory."""
    name = config.dataset
    if name.startswith(FOLDER):
        name = f"{FOLDER}{study / name.removeprefix(FOLDER)}"
    return _loaded(name, study.parent / "data", config.image_size)


def run(job: Job, study: Path) -> None:
    """Trains and tests, and keeps the result in `runs/`.

    An interrupted run is resumed after its last whole epoch.

    Args:
        job: what to run.
        study: the directory of the study.
    """
    config, prepare = job.config, PREPARATIONS[job.experiment.prepare]
    dataset = prepare(data(config, study))
    unfinished = study / "runs" / f".{job.name}-{job.fingerprint}"
    resumed = unfinished.exists()
    unfinished.mkdir(parents=True, exist_ok=True)
    trained = train(config, dataset, unfinished)
    tested = evaluate(trained.model, dataset.test, len(dataset.classes))
    result = Result(
        id=job.experiment.id,
        seed=job.seed,
        fingerprint=job.fingerprint,
        config=config.asdict(),
        history=trained.history,
        best_epoch=trained.best_epoch,
        test_accuracy=tested.accuracy,
        test_interval=list(tested.interval),
        classes=list(dataset.classes),
        labels=dataset.test.labels.tolist(),
        predicted=tested.predicted.tolist(),
        robustness=_robustness(trained.model, dataset.test) if job.experiment.robust else {},
        seconds=None if resumed else round(trained.seconds, 1),
        environment=environment(),
    )
    keep(study / "runs", result, job)
    for attempt in unfinished.parent.glob(f".{job.name}-*"):  # of earlier versions of the experiment too
        shutil.rmtree(attempt)
    keras.backend.clear_session()


def environment() -> dict[str, str]:
    """What a figure of this run must name: machine, versions, commit."""
    libraries = [f"{name} {version(name)}" for name in LIBRARIES]
    return {
        "machine": f"{cpu_count()} cores of {_processor()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *libraries]),
        "commit": commit() or "not from a git checkout",
    }


def _robustness(model: keras.Model, split: Split) -> dict[str, dict[str, float]]:
    """Accuracy on all images of a split, by corruption and strength."""
    images = np.asarray(split.images)
    return {
        name: {
            f"{strength:g}": evaluate(
                model, Split(corrupted(images, name, strength), split.labels), model.output_shape[-1]
            ).accuracy
            for strength in strengths
        }
        for name, strengths in STRENGTHS.items()
    }


@cache
def _loaded(name: str, data_dir: Path, image_size: int) -> ImageDataset:
    return load(name, data_dir, image_size=image_size)


def _processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
