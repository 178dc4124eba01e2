"""What is searched: one function from keras-tuner's hyperparameters to a TrainConfig, and the search itself as data."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer.config import MODELS, OPTIMIZERS, PAPER_MODELS, SCHEDULES, TrainConfig

if TYPE_CHECKING:
    from keras_tuner import HyperParameters  # it imports TensorFlow, which a mistyped option need not wait for

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
SPACES: dict[str, tuple[str, ...]] = {
    "default": ("learning_rate", "optimizer", "model"),
    "full": (
        *("learning_rate", "optimizer", "model", "schedule", "batch_size", "dropout", "weight_decay"),
        *("label_smoothing", "mirror", "shift", "erase"),
    ),
}
TRIALS = 24
EPOCHS = 4  # of a trial
LARGEST_SEED = 2**31 - 1


class SearchError(ValueError):
    """A search that cannot begin or go on; the message says why, and what to do."""


def sample_config(hp: HyperParameters, base: TrainConfig, free: Collection[str]) -> TrainConfig:
    """The config that `hp` stands for: the settings named in `free` are sampled, the others are those of `base`.

    A new `hp` learns the space from the call. Learning rates are 17 steps from 1e-4 to 1, four a decade.
    """
    smallest = min(32, base.batch_size)  # that of a small set suits its size
    adamw = {"parent_name": "optimizer", "parent_values": ["adamw"]} if "optimizer" in free else {}
    samplers = {
        "learning_rate": lambda: hp.Float("learning_rate", 1e-4, 1, step=10**0.25, sampling="log"),
        "optimizer": lambda: hp.Choice("optimizer", list(OPTIMIZERS)),
        "model": lambda: hp.Choice("model", list(dict.fromkeys((*PAPER_MODELS, base.model)))),
        "schedule": lambda: hp.Choice("schedule", list(SCHEDULES)),
        "batch_size": lambda: hp.Choice("batch_size", [smallest, 2 * smallest, 4 * smallest, 8 * smallest]),
        "dropout": lambda: hp.Choice("dropout", [0.0, 0.15, 0.3, 0.45]),
        "weight_decay": lambda: hp.Float("weight_decay", 1e-4, 1e-1, step=10**0.5, sampling="log", **adamw),
        "label_smoothing": lambda: hp.Choice("label_smoothing", [0.0, 0.05, 0.1]),
        "mirror": lambda: hp.Boolean("mirror"),
        "shift": lambda: hp.Int("shift", 0, 2),
        "erase": lambda: hp.Choice("erase", [0.0, 0.15, 0.3]),
    }
    sampled = {name: sample() for name, sample in samplers.items() if name in free}
    for name in sampled.keys() & {"learning_rate", "weight_decay"}:
        # Three figures, so that what a terminal shows is what was trained; None: no weight decay without AdamW.
        sampled[name] = float(f"{sampled[name] or 0.0:.3g}")
    if sampled.get("optimizer", base.optimizer) != "adamw":
        sampled["weight_decay"] = 0.0
    return replace(base, **sampled)


@dataclass(frozen=True)
class Search:
    """Everything that decides a search's result, apart from the images; validates its fields when constructed.

    Attributes:
        base: the settings that are not searched; its epochs are those of a full training.
        fixed: settings that are not searched although the space has them.
        space: a name in `SPACES`.
        algorithm: a name in `ALGORITHMS`.
        trials: how many; None: all of a grid, `TRIALS` for the other algorithms.
        epochs: of a trial.
        seed: of the algorithm's choices and, with its number, of each trial.
        final_patience: the patience of a full training; None: the base's, as for a trial.
    """

    base: TrainConfig
    fixed: tuple[str, ...] = ()
    space: str = "default"
    algorithm: str = "bayesian"
    trials: int | None = None
    epochs: int = EPOCHS
    seed: int = 0
    final_patience: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("algorithm", self.algorithm, ALGORITHMS), ("space", self.space, tuple(SPACES))):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value}.")
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"`trials` must be at least 1. Received: {self.trials}.")
        replace(self.base, epochs=self.epochs, seed=self.seed)  # refuses what a trial cannot have
        if not self.free:
            raise ValueError(f"The space {self.space} has nothing left to search: {', '.join(self.fixed)} are fixed.")

    @property
    def free(self) -> tuple[str, ...]:
        """The settings that are searched."""
        names = [name for name in SPACES[self.space] if name not in self.fixed]
        if "optimizer" in self.fixed and self.base.optimizer != "adamw" and "weight_decay" in names:
            names.remove("weight_decay")
        if "dropout" in names and self.base.model not in MODELS:  # which has its own
            names.remove("dropout")
        return tuple(names)

    @property
    def limit(self) -> int | None:
        """How many trials at most; None: all of a grid in which settings depend on one another."""
        if self.trials or self.algorithm != "grid":
            return self.trials or TRIALS
        space = self.hyperparameters().space
        return None if any(each.conditions for each in space) else math.prod(len(tuple(each.values)) for each in space)

    def hyperparameters(self, values: Mapping[str, Any] | None = None) -> HyperParameters:
        """keras-tuner's description of the space, at the given values or else at its defaults."""
        from keras_tuner import HyperParameters

        hp = HyperParameters()
        hp.values = dict(values or {})
        sample_config(hp, self.base, self.free)
        return hp

    def points(self) -> Iterator[dict[str, Any]]:
        """Every point of the space, in order; a setting that has no effect there is left out."""
        from keras_tuner import HyperParameters

        space = self.hyperparameters().space
        choices = [tuple(each.values) for each in space]
        for combination in itertools.product(*choices):
            point = HyperParameters()
            for hp, value, (first, *_) in zip(space, combination, choices, strict=True):
                point.merge([hp])
                if point.is_active(hp):
                    point.values[hp.name] = value
                elif value != first:
                    break  # the same as an earlier point
            else:
                yield point.values

    def config(self, values: Mapping[str, Any], number: int) -> TrainConfig:
        """What trial `number` trains. Each trial has its own seed, so that luck does not favour one search's trials."""
        config = sample_config(self.hyperparameters(values), self.base, self.free)
        # A promoted trial of Hyperband is the same training, carried on.
        root = int(values.get("tuner/root", number))
        seed = (self.seed * 1_000_003 + root + 1) % LARGEST_SEED
        return replace(config, epochs=self.epochs, seed=seed)

    def full_config(self, values: Mapping[str, Any], number: int, seed: int) -> TrainConfig:
        """What a finalist trains: the settings of trial `number`, for as many epochs as the base has."""
        patience = self.base.patience if self.final_patience is None else self.final_patience
        return replace(self.config(values, number), epochs=self.base.epochs, patience=patience, seed=seed)

    def described(self, values: Mapping[str, Any]) -> str:
        """The settings that are searched, as in `deep adamw 0.00562`."""
        config, parts = self.config(values, 0), []
        first = [name for name in ("model", "optimizer", "learning_rate") if name in self.free]
        for name in dict.fromkeys([*first, *self.free]):
            value = getattr(config, name)
            text = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(text if name in first else f"{name}={text}")
        return " ".join(parts)

    def identity(self) -> dict[str, Any]:
        """What a search that goes on must have in common with its beginning; more trials may be asked for."""
        own = [*self.free, "seed", "epochs"]  # of each trial, and of the finalists
        if not 0 < self.base.patience < self.epochs:
            own.append("patience")  # no trial is long enough for it
        return {
            "space": self.space,
            "fixed": list(self.fixed),
            "algorithm": self.algorithm,
            "epochs": self.epochs,
            "seed": self.seed,
            "base": {name: value for name, value in self.base.asdict().items() if name not in own},
        }

    def key(self, data: str) -> str:
        """Eight hexadecimal digits that searches share only if their trials are the same, on data of this hash."""
        identity = self.identity()
        del identity["base"]["dataset"]  # perhaps a path, which may differ between machines
        return hashlib.sha256(json.dumps([identity, data], sort_keys=True).encode()).hexdigest()[:8]
