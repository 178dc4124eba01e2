"""One training run as data: a frozen TrainConfig that validates its fields, and the recipes built of it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

MODELS = ("basic", "deep")
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

# What `--optimizer NAME` means without a rate: the paper's values where it has one (0.01 for SGD,
# 0.0003 for Adam, from its script), Keras's defaults elsewhere.
DEFAULT_RATES = {"sgd": 0.01, "momentum": 0.01, "rmsprop": 1e-3, "adam": 3e-4, "adamw": 1e-3}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value}.")


def _between(
    name: str, value: float, low: float, high: float, *, open_below: bool = False, open_above: bool = False
) -> None:
    inside = math.isfinite(value) and low <= value <= high
    if not inside or (open_below and value == low) or (open_above and value == high):
        bounds = f"{'above' if open_below else 'at least'} {low:g} and {'below' if open_above else 'at most'} {high:g}"
        raise ValueError(f"`{name}` must be {bounds}. Received: {value}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result, apart from the images themselves.

    The defaults are the paper's settings for model 1: SGD at a constant 0.01, batches of 64, 25 epochs,
    no augmentation, no regularisation.

    Attributes:
        dataset: a TFDS image classification set such as `fashion_mnist`, `folder:PATH` of pictures by class, or
            `idx:PATH` of four IDX files.
        image_size: height and width that pictures are brought to; 0 keeps the size that all of them have, if
            that is at most 96 pixels a side, and takes 64 otherwise.
        split_seed: decides which pictures of a folder test and validate, where the folder does not. It is not
            `seed`, so that runs of several seeds are tested on the same pictures.
        model: a name in `MODELS`.
        optimizer: a name in `OPTIMIZERS`.
        learning_rate: the peak rate, in (0, 10].
        schedule: `constant`, or `cosine` for a linear warm-up followed by a cosine decay to zero.
        warmup_epochs: length of the warm-up of the cosine schedule, in epochs.
        weight_decay: decoupled weight decay; only AdamW takes one.
        batch_size: images a step.
        epochs: the most epochs that are trained.
        patience: stop after this many epochs without a better validation accuracy; 0 trains them all.
            1 is the paper's Algorithm 1 ("keep the update if it beats every earlier one, else stop").
        dropout: rate of the dropout before each hidden dense layer, in [0, 1).
        label_smoothing: share of the target spread over all classes, in [0, 1).
        shuffle: draw a new order of the training images each epoch; the paper's scripts keep the order they come in.
        mirror: mirror each training image left to right with probability one half.
        shift: move each training image by up to this many pixels along both axes.
        rotate: rotate each training image by up to this many degrees either way.
        erase: black out a square of this share of the shorter side in each training image, in [0, 1).
        precision: what the model computes in while it trains; `auto` is mixed_float16 on a GPU with tensor
            cores, float32 elsewhere. Models are kept and exported in float32.
        deterministic: make a run repeatable bit for bit, at some cost in speed.
        seed: seeds initial weights, dropout, shuffling and augmentation.
    """

    dataset: str = "fashion_mnist"
    image_size: int = 0
    split_seed: int = 0
    model: str = "basic"
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    schedule: str = "constant"
    warmup_epochs: float = 1.0
    weight_decay: float = 0.0
    batch_size: int = 64
    epochs: int = 25
    patience: int = 0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    shuffle: bool = True
    mirror: bool = False
    shift: int = 0
    rotate: float = 0.0
    erase: float = 0.0
    precision: str = "auto"
    deterministic: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            self.dataset.encode()
        except UnicodeEncodeError as error:
            received = self.dataset.encode("utf-8", "surrogateescape")
            raise ValueError(f"`dataset` must be in UTF-8. Received: {received!r}.") from error
        _one_of("model", self.model, MODELS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _between("image_size", self.image_size, 0, 1024)
        _between("split_seed", self.split_seed, 0, 2**31 - 1)
        _between("learning_rate", self.learning_rate, 0, 10, open_below=True)
        _between("warmup_epochs", self.warmup_epochs, 0, 1000)
        _between("weight_decay", self.weight_decay, 0, 1)
        _between("batch_size", self.batch_size, 1, 65_536)
        _between("epochs", self.epochs, 1, 10_000)
        _between("patience", self.patience, 0, 10_000)
        _between("dropout", self.dropout, 0, 1, open_above=True)
        _between("label_smoothing", self.label_smoothing, 0, 1, open_above=True)
        _between("shift", self.shift, 0, 16)
        _between("rotate", self.rotate, 0, 180)
        _between("erase", self.erase, 0, 1, open_above=True)
        _one_of("precision", self.precision, PRECISIONS)
        _between("seed", self.seed, 0, 2**31 - 1)
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"`weight_decay` goes with the optimizer adamw. Received: {self.weight_decay} with {self.optimizer}."
            )

    def asdict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that two configs share only if they are equal."""
        text = json.dumps(self.asdict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        """One line for people: what is trained, and what differs from the plain settings."""
        parts = [
            f"{self.optimizer} {self.learning_rate:g} {self.schedule}",
            f"batch {self.batch_size}",
            f"{self.epochs} epochs",
            f"seed {self.seed}",
        ]
        if self.precision != "auto":
            parts.append(self.precision)
        if not self.shuffle:
            parts.append("not shuffled")
        plain = TrainConfig()
        for field in (
            "weight_decay",
            "dropout",
            "label_smoothing",
            "mirror",
            "shift",
            "rotate",
            "erase",
            "patience",
            "deterministic",
        ):
            if (value := getattr(self, field)) != getattr(plain, field):
                parts.append(field.replace("_", " ") + ("" if value is True else f" {value:g}"))
        return f"{self.model}: " + ", ".join(parts)


# `default` was chosen on Fashion-MNIST's validation images; `paper` is what the paper trained.
RECIPES: dict[str, TrainConfig] = {
    "default": TrainConfig(
        optimizer="adamw",
        learning_rate=4e-3,
        schedule="cosine",
        weight_decay=4e-3,
        batch_size=128,
        epochs=18,
        mirror=True,
        erase=0.25,
    ),
    "paper": TrainConfig(),
}
