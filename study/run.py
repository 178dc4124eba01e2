"""One run of the study: prepare the data, train, test. Only worker processes import this file, and TensorFlow."""

from __future__ import annotations

import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import keras
from joblib import cpu_count

from study.experiments import Job
from study.preparations import PREPARATIONS
from study.results import Result, save
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.robustness import robustness
from trainer.release.card import LIBRARIES, commit
from trainer.training.fit import train

_load = cache(load)


def data(config: TrainConfig, study: Path) -> ImageDataset:
    """An experiment's data set."""
    return _load(config.dataset, study.parent / "data", image_size=config.image_size)


def run(job: Job, study: Path) -> None:
    """Trains, tests, and saves the result in `runs/`.

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
        robustness=(
            robustness(trained.model.predict_on_batch, dataset.test).to_json() if job.experiment.robust else {}
        ),
        seconds=None if resumed else round(trained.seconds, 1),
        environment=environment(),
        diverged=trained.diverged,
    )
    save(study / "runs", result, job)
    keras.backend.clear_session()


def environment() -> dict[str, str]:
    """Machine, versions and commit, which a figure of this run must state."""
    libraries = [f"{name} {version(name)}" for name in LIBRARIES]
    return {
        "machine": f"{cpu_count()} cores of {_processor()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *libraries]),
        "commit": commit() or "not from a git checkout",
    }


def _processor() -> str:
    """The processor's name where Linux gives it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.machine()
