"""The training pipeline: train, evaluate, choose, export, judge, push."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from registry.card import ModelCard
from registry.disk import write_json
from registry.store import ModelStore
from trainer.config import RunOptions, TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.devices import ONE, Devices, alone, resolved
from trainer.models.builders import build
from trainer.prepare import Prepared
from trainer.release.checks import Verdict
from trainer.release.finished import Run, read
from trainer.release.live_server import infra
from trainer.release.push import as_only_version, push
from trainer.release.verdict import judge
from trainer.run import directory_for, train_and_evaluate
from trainer.training.checkpoint import CheckpointError, claimed
from trainer.training.fit import DivergedError, train


class RefusedError(RuntimeError):
    """The gate refused the best model, and it was not forced; nothing was pushed.

    Attributes:
        runs: the finished runs.
        best: the one that was judged.
        verdict: why.
    """

    def __init__(self, runs: Sequence[Run], best: Run, verdict: Verdict) -> None:
        super().__init__(" ".join(verdict.reasons))
        self.runs, self.best, self.verdict = runs, best, verdict


def run(
    configs: Sequence[TrainConfig], prepared: Prepared, options: RunOptions, devices: Devices = ONE
) -> tuple[list[Run], int, ModelStore]:
    """Trains every config, judges the one with the best validation accuracy, and pushes it if it may be served.

    Args:
        configs: at least one, all of the same data set.
        prepared: that data set.
        options: what is done with the runs.
        devices: what to train on; of several processes, this is the leader.

    Returns:
        The finished runs, the version pushed, and the store it is in.

    Raises:
        DivergedError: the loss of every config became NaN or infinite before anything was learned.
        RefusedError: the gate refused the model. The verdict is in its run directory.
        RegistryError: it could not be published; the versions there before are untouched.
        ValueError: the device lacks a config's precision, or its model cannot be built for such images.
    """
    _check(configs, prepared.dataset)  # before anything is trained
    # Several processes start over: the others could not know how far an interrupted run had come.
    options = replace(options, fresh=options.fresh or devices.processes > 1)
    # Every run is kept from other processes until the command ends, because it may still be pushed.
    with ExitStack() as held:
        runs = _trained(configs, prepared, options, devices, held)
        best = max(runs, key=lambda run: run.result.validation_accuracy)
        verdict, version = _judged_and_pushed(best, prepared, options.reason)
        # Until here, even after a full disk at the push, the same command resumes each of these runs.
        for run in runs:
            shutil.rmtree(run.directory / "checkpoint")
    if version is None:
        raise RefusedError(runs, best, verdict)
    return runs, version, prepared.store


def _check(configs: Sequence[TrainConfig], dataset: ImageDataset) -> None:
    """Raises ValueError where the device lacks a config's precision, or its model cannot be built for such images."""
    for config in configs:
        resolved(config.precision)
        with alone():
            build(config, dataset.shape, len(dataset.classes))


def _trained(
    configs: Sequence[TrainConfig], prepared: Prepared, options: RunOptions, devices: Devices, held: ExitStack
) -> list[Run]:
    """The runs of all configs but those that diverged, their directories claimed until `held` is closed."""
    runs: list[Run] = []
    for config in configs:
        directory = held.enter_context(directory_for(config, prepared.dataset.sha256, options))
        try:
            runs.append(train_and_evaluate(config, prepared, directory, options.tensorboard, devices))
        except DivergedError as error:
            if config == configs[-1] and not runs:
                raise
            print(f"{config.model} is left out. {error}", flush=True)
    return runs


def push_finished(
    directory: Path, config: TrainConfig, prepared: Prepared, reason: str | None
) -> tuple[list[Run], int, ModelStore]:
    """Judges a finished run against the version that is served now, and pushes its export if it may be served.

    Returns, Raises: as `run`.
    """
    with claimed(directory) as free:
        if not free:
            raise CheckpointError(f"{directory}: another process works on this run; wait for it to end.")
        finished = read(directory, config, prepared.dataset)
        verdict, version = _judged_and_pushed(finished, prepared, reason)
        shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    if version is None:
        raise RefusedError([finished], finished, verdict)
    return [finished], version, prepared.store


def _judged_and_pushed(best: Run, prepared: Prepared, reason: str | None) -> tuple[Verdict, int | None]:
    """The verdict, and the version pushed; None if the gate refused the model and it is not forced."""
    dataset, store, thresholds = prepared.dataset, prepared.store, prepared.thresholds
    card = ModelCard.read(best.export)
    with alone():
        with as_only_version(best.export, card.name) as models:
            live = infra(models, dataset.classes, dataset.test.images, best.predict, thresholds)
        verdict = judge(card, live, best.evaluation, best.robustness, dataset, store, thresholds)
    if reason and not verdict.accepted:
        verdict = replace(verdict, forced=reason, forced_by=user())
    write_json(best.directory / "verdict.json", verdict.to_json())
    if not verdict.accepted and not verdict.forced:
        return verdict, None
    return verdict, push(best.directory, replace(card, name=store.name), verdict, store)


def take_part(configs: Sequence[TrainConfig], dataset: ImageDataset, devices: Devices) -> None:
    """What the processes other than the leader do: they train on their share of every batch, and keep nothing."""
    for config in configs:
        # If the loss diverges, the leader reports it.
        with tempfile.TemporaryDirectory(prefix="trainer-") as directory, suppress(DivergedError):
            train(config, dataset, Path(directory), devices=devices)


def user() -> str:
    """Who runs this command, for the verdict of a model that is forced."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"
