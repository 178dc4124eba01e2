"""The whole way: load the data, train, evaluate, choose, export, judge, push."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from registry.disk import write_json
from registry.store import ModelStore
from trainer.config import TrainConfig
from trainer.data import schema
from trainer.data.cache import MEMORY_LIMIT
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.data.schema import Inspection
from trainer.devices import ONE, Devices, alone
from trainer.evaluation import novelty
from trainer.models.cnns import check_size
from trainer.precision import resolved
from trainer.release import examples
from trainer.release.card import card_of
from trainer.release.checks import Verdict
from trainer.release.live_server import infra
from trainer.release.push import candidate, push
from trainer.release.thresholds import Thresholds, thresholds_for
from trainer.release.verdict import check_kind, judge
from trainer.run import Run, directory_for, train_and_evaluate
from trainer.training.fit import DivergedError, train


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
    name: str | None = None,
    overrides: Mapping[str, float] | None = None,
    reason: str | None = None,
    resume: Path | None = None,
    fresh: bool = False,
    tensorboard: bool = False,
    memory_limit: int = MEMORY_LIMIT,
    allow_anomalies: bool = False,
    devices: Devices = ONE,
) -> tuple[list[Run], int, ModelStore]:
    """Trains every config, judges the one with the best validation accuracy, and pushes it if it may be served.

    Args:
        configs: at least one, all of the same data set.
        artifacts: the directory of data, runs and models.
        name: of the model; left out, the data set's.
        overrides: thresholds of the gate by name, instead of the data set's own.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.
        resume: the directory of the interrupted run to go on with; left out, one of the same config is looked for.
        fresh: look for none.
        tensorboard: write logs for TensorBoard into the run directories.
        memory_limit: bytes of decoded images beyond which they are read from disk while training.
        allow_anomalies: train on data that is not what it should be; the card says so.
        devices: what to train on; of several processes, this is the one that leads.

    Returns:
        The finished runs, the version pushed, and the store it is in.

    Raises:
        DataError: the data is missing, damaged or, unless that is allowed, not what it should be; or it is of another
            kind than that of the version now served by this name, and nobody forces it.
        DivergedError: the loss of every config became NaN or infinite before anything was learned.
        RefusedError: the gate refused the model. The verdict is in its run directory.
        RegistryError: it could not be published; the versions there before are untouched.
    """
    for config in configs:
        resolved(config.precision)  # refuses what the device lacks before anything else is done
    dataset = loaded(configs[0], artifacts / "data", memory_limit, name)
    for config in configs:
        check_size(config.model, dataset.shape)
    store = ModelStore(artifacts / "models", dataset.name)
    check_kind(dataset, store, reason)
    inspected = schema.inspect(dataset, allow_anomalies)
    thresholds = thresholds_for(dataset.known, overrides)
    # Several processes begin anew: the others could not know how far an interrupted run had come.
    fresh = fresh or devices.processes > 1
    runs: list[Run] = []
    # Every run is kept from other processes until the command ends, because it may still be pushed.
    with ExitStack() as held:
        for config in configs:
            wanted = directory_for(config, artifacts / "runs", dataset.sha256, resume=resume, fresh=fresh)
            directory = held.enter_context(wanted)
            try:
                runs.append(
                    train_and_evaluate(config, dataset, inspected, directory, tensorboard=tensorboard, devices=devices)
                )
            except DivergedError as error:
                if config == configs[-1] and not runs:
                    raise
                print(f"{config.model} is left out. {error}", flush=True)
        best = max(runs, key=lambda run: run.result.validation_accuracy)
        verdict, version = _judged_and_pushed(best, dataset, inspected, store, thresholds, reason)
        # Until here, a full disk at the push included, the same command goes on with each of these runs.
        for run in runs:
            shutil.rmtree(run.directory / "checkpoint")
    if version is None:
        raise RefusedError(runs, best, verdict)
    return runs, version, store


def _judged_and_pushed(
    best: Run,
    dataset: ImageDataset,
    inspected: Inspection,
    store: ModelStore,
    thresholds: Thresholds,
    reason: str | None,
) -> tuple[Verdict, int | None]:
    """The verdict, and the version pushed; None where the gate refused the model and nobody forces it."""
    known = novelty.fit(dataset)
    known.write(best.directory)
    examples.draw(dataset.test, best.evaluation.predicted, best.evaluation.confusion, best.directory)
    card = card_of(best, dataset, inspected, known, store.name)
    model, temperature = best.result.model, best.evaluation.temperature
    with alone(), candidate(model, temperature, card, best.directory, thresholds) as judged:
        live = infra(judged.root, dataset.classes, dataset.test.images, best.predict, thresholds)
        verdict = judge(card, live, best.evaluation, best.robustness, dataset, store, thresholds)
        if reason and not verdict.accepted:
            verdict = replace(verdict, forced=reason, forced_by=_user())
        write_json(best.directory / "verdict.json", verdict.to_json())
        if not verdict.accepted and not verdict.forced:
            return verdict, None
        return verdict, push(judged, verdict, best.directory, store)


def take_part(configs: Sequence[TrainConfig], artifacts: Path, name: str, memory_limit: int, devices: Devices) -> None:
    """What the processes that do not lead have to do: to train on their share of every batch, and keep nothing."""
    dataset = loaded(configs[0], artifacts / "data", memory_limit, name)
    for config in configs:
        # Where the loss diverges, the process that leads says so.
        with tempfile.TemporaryDirectory(prefix="trainer-") as directory, suppress(DivergedError):
            train(config, dataset, Path(directory), devices=devices)


def loaded(config: TrainConfig, data_dir: Path, memory_limit: int, name: str | None) -> ImageDataset:
    """The config's data set."""
    return load(
        config.dataset,
        data_dir,
        name=name,
        image_size=config.image_size,
        split_seed=config.split_seed,
        memory_limit=memory_limit,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"
