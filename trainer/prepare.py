"""What a command checks before it trains, without TensorFlow: the data, and the version now served."""

from __future__ import annotations

from dataclasses import dataclass

from registry.card import CardError
from registry.store import ModelStore
from trainer.config import RunOptions, TrainConfig
from trainer.data import schema
from trainer.data.dataset import DataError, ImageDataset
from trainer.data.load import load
from trainer.data.schema import Inspection
from trainer.release.thresholds import Thresholds, thresholds_for


@dataclass(frozen=True)
class Prepared:
    """Data that may be trained on, what it holds, where its models go, and what the gate demands of them."""

    dataset: ImageDataset
    inspected: Inspection
    store: ModelStore
    thresholds: Thresholds


def prepare(config: TrainConfig, options: RunOptions) -> Prepared:
    """Loads and inspects the data of a run.

    Raises:
        DataError: the data is missing, damaged or, unless that is allowed, not what it should be; or it is of another
            kind than that of the version now served by this name, and nobody forces it.
        RegistryError: the pin is broken.
        ValueError: an unknown threshold, or one out of range.
    """
    dataset = loaded(config, options)
    store = ModelStore(options.artifacts / "models", dataset.name)
    if not options.reason:
        _check_kind(dataset, store)
    thresholds = thresholds_for(dataset.known, options.overrides)
    return Prepared(dataset, schema.inspect(dataset, options.allow_anomalies), store, thresholds)


def loaded(config: TrainConfig, options: RunOptions) -> ImageDataset:
    """The config's data set."""
    return load(
        config.dataset,
        options.artifacts / "data",
        name=options.name,
        image_size=config.image_size,
        split_seed=config.split_seed,
    )


def _check_kind(dataset: ImageDataset, store: ModelStore) -> None:
    """Refuses a model that clients of the version now served could not use in its place."""
    served = store.served()
    if served is None:
        return
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
                "Choose another name with --name (for a search, with --model-name), or replace it with --force "
                "--reason TEXT."
            )
