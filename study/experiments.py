"""The study's experiments as data: the paper's six, three of them without shuffling, and those of its outlook."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config import TrainConfig
from trainer.recipes import RECIPES

# Part of every result: raise it when what a run does or measures changes, so that all are computed again.
VERSION = 2
COST = {"basic": 1.0, "deep": 2.0, "residual": 13.0}  # relative duration of an epoch
PAIR = ("Shirt", "T-shirt/top")


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        id: name in options, files and tables.
        config: training configuration.
        prepare: name in `study.preparations` of what is done to the data before training.
        robust: whether the model is tested on corrupted images too.
        once: whether it is run with seed 0 only, however many seeds are asked for.
        relative_cost: duration of an epoch, relative to one on Fashion-MNIST's training images.
    """

    id: str
    config: TrainConfig
    prepare: str = "nothing"
    robust: bool = False
    once: bool = False
    relative_cost: float = 1.0

    @property
    def cost(self) -> float:
        """Duration of a run, relative to others."""
        return self.config.epochs * COST[self.config.model] * self.relative_cost


@dataclass(frozen=True)
class Job:
    """One run to do: an experiment with one seed."""

    experiment: Experiment
    seed: int

    @property
    def name(self) -> str:
        return f"{self.experiment.id}-seed-{self.seed}"

    @property
    def config(self) -> TrainConfig:
        return replace(self.experiment.config, seed=self.seed)

    @property
    def fingerprint(self) -> str:
        """Equal for two jobs only if they train and measure the same."""
        return fingerprint(self.config.asdict(), self.experiment)


def fingerprint(config: Mapping[str, Any], experiment: Experiment) -> str:
    """Eight hexadecimal digits of an experiment with these training settings, which include the seed."""
    from trainer.evaluation.robustness import CORRUPTIONS  # needs SciPy, which the command's --help does without

    strengths = {name: strengths for name, (_, strengths) in CORRUPTIONS.items()}
    of = [VERSION, config, experiment.prepare, experiment.robust and strengths]
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:8]


def jobs(experiments: Iterable[Experiment], seeds: int) -> list[Job]:
    """The runs of some experiments."""
    return [Job(each, seed) for each in experiments for seed in range(1 if each.once else seeds)]


def chosen(experiments: Sequence[Experiment], ids: Sequence[str]) -> list[Experiment]:
    """The experiments with these ids; all where no id is given.

    Raises:
        ValueError: an unknown id.
    """
    known = {each.id: each for each in experiments}
    if unknown := [name for name in ids if name not in known]:
        raise ValueError(f"`only` must name experiments among {', '.join(known)}. Received: {', '.join(unknown)}.")
    return [known[name] for name in dict.fromkeys(ids)] if ids else list(experiments)


# The paper's plain settings (sections 2.2 to 2.4): SGD 0.01, 25 epochs, batches of 64, the best epoch's weights.
BASE = TrainConfig(precision="float32")

PAPER = [
    Experiment("basic-sgd-0.01", BASE),
    Experiment("deep-sgd-0.01", replace(BASE, model="deep")),
    Experiment("basic-sgd-0.1", replace(BASE, learning_rate=0.1)),
    Experiment("deep-sgd-0.1", replace(BASE, model="deep", learning_rate=0.1)),
    Experiment("basic-sgd-0.5", replace(BASE, learning_rate=0.5)),
    Experiment("basic-adam", replace(BASE, optimizer="adam", learning_rate=3e-4), robust=True),
]
BY_ID = {each.id: each for each in PAPER}

IN_ORDER = "-in-order"
# The paper's scripts do not shuffle: the experiments with a published accuracy as the scripts do them.
NOT_SHUFFLED = [
    replace(BY_ID[name], id=name + IN_ORDER, config=replace(BY_ID[name].config, shuffle=False), robust=False, once=True)
    for name in ("basic-sgd-0.01", "deep-sgd-0.01", "basic-adam")
]

_ADAM = BY_ID["basic-adam"].config
SPECIALIST = "shirt-specialist"
# Outlook 1: how to tell a shirt from a T-shirt. Each experiment differs from basic-adam in one thing.
SHIRT = [
    Experiment("shirt-details", _ADAM, "details", once=True),
    Experiment("shirt-twice", _ADAM, "pair twice", once=True, relative_cost=1.2),
    Experiment(SPECIALIST, _ADAM, "pair only", once=True, relative_cost=0.2),
]


def _by_recipe(name: str, model: str, **changes: Any) -> TrainConfig:
    return replace(RECIPES[name], model=model, precision="float32", **changes)


# Outlook 2: robustness with and without standardizing each image, and with the augmentation of the robust recipe.
ROBUST = [
    Experiment("deep-default-scale", _by_recipe("default", "deep", normalization="scale"), robust=True, once=True),
    Experiment("deep-default", _by_recipe("default", "deep"), robust=True, once=True),
    Experiment("deep-robust", _by_recipe("robust", "deep"), robust=True, once=True),
]

# Outlook 3: a residual network beside both CNNs, on Fashion-MNIST and on harder images.
RESIDUAL_EPOCHS = 12  # fewer than its recipe's: they take nearly as long as the paper's six experiments together
_CONFIGS = {
    "basic": _by_recipe("default", "basic"),
    "deep": _by_recipe("default", "deep"),
    "residual": _by_recipe("residual", "residual", epochs=RESIDUAL_EPOCHS),
}
PHOTOGRAPHS = [
    Experiment(f"photographs-{model}", config, "photographs", once=True, relative_cost=0.2)
    for model, config in _CONFIGS.items()
]
HARDER = [
    Experiment("basic-default", _CONFIGS["basic"], once=True),
    Experiment("residual", _CONFIGS["residual"], robust=True, once=True),
    *PHOTOGRAPHS,
]
# What outlook 3 compares: the images, and the experiments on them, the residual network's last.
SETS = {
    "Fashion-MNIST": ("basic-default", "deep-default", "residual"),
    "on photographs": tuple(each.id for each in PHOTOGRAPHS),
}

ALL = [*PAPER, *NOT_SHUFFLED, *SHIRT, *ROBUST, *HARDER]
