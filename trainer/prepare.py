"""What a command checks before it trains: a user's own model, the data, and the served version.

Only a user's own model, and a data set that TFDS has to prepare, need TensorFlow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from registry.card import CardError, ModelCard
from registry.store import ModelStore
from trainer.backend import import_tensorflow
from trainer.config import MODELS, RunOptions, TrainConfig
from trainer.data import checks
from trainer.data.checks import Inspection
from trainer.data.dataset import DataError, ImageDataset, listed
from trainer.data.load import load
from trainer.evaluation import novelty
from trainer.evaluation.novelty import NoveltyScore
from trainer.release.thresholds import Thresholds, thresholds_for
from trainer.training.checkpoint import CheckpointError, config_of

# What else may be done about a served version that a model cannot be compared with.
_OTHERWISE = (
    "Choose another name with --name (for a search, with --model-name), or replace it with --force --reason TEXT."
)


@dataclass(frozen=True)
class Prepared:
    """Data that may be trained on, what it holds, where its models go, and what the gate demands of them."""

    dataset: ImageDataset
    inspected: Inspection
    store: ModelStore
    thresholds: Thresholds

    @cached_property
    def novelty(self) -> NoveltyScore:
        """What recognises images that are unlike the data set's."""
        return novelty.fit(self.dataset)

    @cached_property
    def novelty_measures(self) -> dict[str, Any]:
        """How well it does so."""
        return novelty.measured(self.novelty, self.dataset.test)


def check_model(model: str) -> None:
    """Imports the function that a user's own model is named by, so that a mistake in it is reported before all else.

    Raises:
        ValueError: it cannot be imported, or TensorFlow cannot.
    """
    if model not in MODELS:
        import_tensorflow()
        from trainer.models.builders import builder

        builder(model)


def prepare(config: TrainConfig, options: RunOptions) -> Prepared:
    """Loads and inspects the data of a run.

    Raises:
        DataError: the data is missing, damaged or, unless that is allowed, not what it should be; or it is of another
            kind or split than that of the served version of this name, and is not forced.
        RegistryError: the pin is broken.
        ValueError: an unknown threshold, or one out of range.
    """
    dataset = loaded(config, options)
    store = ModelStore(options.artifacts / "models", dataset.name)
    served = store.served()  # also of a model that is forced, so that a broken pin is reported before the training
    if served is not None and not options.reason:
        _check_served(config, dataset, store, served)
    thresholds = thresholds_for(dataset.known, options.overrides)
    return Prepared(dataset, checks.inspect(dataset, options.allow_anomalies), store, thresholds)


def prepare_push(run: Path, options: RunOptions) -> tuple[TrainConfig, Prepared]:
    """The config of a finished run, and its data set once more.

    The model keeps its name, and is judged by the thresholds of its last verdict, unless the options have others.

    Raises:
        CheckpointError: the directory holds no finished run, or the data has changed since.
        DataError, RegistryError, ValueError: as `prepare`.
    """
    config = config_of(run)
    try:
        card = ModelCard.read(run / "export")
    except CardError as error:
        raise CheckpointError(f"{run}: expected a finished run, with an export and its card. {error}") from error
    overrides = _last_thresholds(run / "verdict.json") | dict(options.overrides)
    options = replace(options, name=options.name or card.name, overrides=overrides)
    prepared = prepare(config, options)
    if prepared.dataset.sha256 != card.data["sha256"]:
        raise CheckpointError(f"{run}: its data has changed since, so that it cannot be judged. Train again.")
    if prepared.dataset.classes != card.classes:
        before, now = listed(card.classes), listed(prepared.dataset.classes)
        raise CheckpointError(
            f"{run}: its class names have changed since from {before} to {now}. Restore them, or train again."
        )
    return config, prepared


def _last_thresholds(verdict: Path) -> dict[str, Any]:
    """The thresholds of a run's last verdict; none where it has not been judged yet."""
    if not verdict.is_file():
        return {}
    try:
        thresholds = json.loads(verdict.read_text())["thresholds"]
        Thresholds(**thresholds)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{verdict}: expected a verdict of the gate with its thresholds ({type(error).__name__}: {error}). "
            "Remove the file to judge the run by the data set's own thresholds."
        ) from error
    return dict(thresholds)


def loaded(config: TrainConfig, options: RunOptions) -> ImageDataset:
    """The config's data set."""
    return load(
        config.dataset,
        options.artifacts / "data",
        name=options.name,
        image_size=config.image_size,
        split_seed=config.split_seed,
    )


def _check_served(config: TrainConfig, dataset: ImageDataset, store: ModelStore, served: int) -> None:
    """Refuses a model that clients of the version `served` could not use, or that cannot be compared with it."""
    try:
        card = store.card(served)
    except CardError:  # the gate will name it
        return
    for what, new, old in (
        ("classes", ", ".join(dataset.classes), ", ".join(card.classes)),
        ("images of shape", dataset.shape, card.input.shape),
    ):
        if new != old:
            raise DataError(
                f"The model {store.name} is served (version {served}), with {what} {old}; this data has {what} {new}. "
                + _OTHERWISE
            )
    seed = card.config.get("split_seed", config.split_seed)  # an imported model has none
    of_folder = str(card.config.get("dataset")).startswith("folder:")
    split_anew = dataset.test_by_seed and of_folder and seed != config.split_seed
    if split_anew and dataset.sha256 != card.data["sha256"]:
        raise DataError(
            f"The model {store.name} is served (version {served}), and was trained with --split-seed {seed}: split by "
            f"--split-seed {config.split_seed}, test pictures may be among its training pictures, so that the two "
            f"cannot be compared. Train with --split-seed {seed}. {_OTHERWISE}"
        )
