"""The study's experiments as data: the paper's six, three of them without shuffling, and those of its outlook."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config import TrainConfig

# Part of every result: raise it when what a run does or measures changes, so that all are computed again.
VERSION = 2
COST = {"basic": 1.0, "deep": 2.0}  # relative duration of an epoch
PAIR = ("Shirt", "T-shirt/top")
# Corruption -> strengths, in the units of trainer/evaluation/robustness.py: degrees, share of the side, grey levels.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "rotation": (5, 10, 20, 30, 45),
    "shift": (0.04, 0.07, 0.14),
    "noise": (8, 16, 32),
    "mirror": (1,),
}


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        id: name in options, files and tables.
        config: training configuration; `folder:digits` is in the study's own directory.
        prepare: name in `study.preparations` of what is done to the data before training.
        robust: whether the model is tested on corrupted images too.
        once: whether it is run with seed 0 only, however many seeds are asked for.
        share: duration of an epoch, relative to one on Fashion-MNIST's training images.
    """

    id: str
    config: TrainConfig
    prepare: str = "nothing"
    robust: bool = False
    once: bool = False
    share: float = 1.0

    @property
    def cost(self) -> float:
        """Duration of a run, relative to others."""
        return self.config.epochs * COST[self.config.model] * self.share


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
    of = [VERSION, config, experiment.prepare, experiment.robust and STRENGTHS]
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
    Experiment("shirt-twice", _ADAM, "pair twice", once=True, share=1.2),
    Experiment(SPECIALIST, _ADAM, "pair only", once=True, share=0.2),
]

# Outlook 2: the same training on mirrored, rotated, shifted and noisy images.
AUGMENTED = Experiment(
    "basic-adam-augmented", replace(_ADAM, mirror=True, rotate=45.0, shift=4), "noisy", robust=True, once=True
)

# Outlook 3: other data, the 1,797 handwritten digits of scikit-learn, as a folder of pictures.
_DIGITS = replace(_ADAM, dataset="folder:digits", image_size=28)
DIGITS = [
    Experiment("digits-basic", _DIGITS, share=0.03),
    Experiment("digits-deep", replace(_DIGITS, model="deep"), share=0.03),
]

ALL = [*PAPER, *NOT_SHUFFLED, *SHIRT, AUGMENTED, *DIGITS]
