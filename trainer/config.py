"""One training run as data: a frozen TrainConfig that validates its fields, and what a command does with its runs."""

from __future__ import annotations

import hashlib
import json
import operator
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.text import counted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PAPER_MODELS = ("basic", "deep")  # trained where no model is named, and the better is pushed
MODELS = (*PAPER_MODELS, "residual")
SMALLEST_SIDE = {"basic": 2, "deep": 8, "residual": 8}  # pixels of an image of which the last pooling leaves one
_BUILDER = re.compile(r"\w+(\.\w+)*:\w+")  # a model that a function of the user's builds
NORMALIZATIONS = ("scale", "standardize")
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
# Settings of what is done to training images; 0 and False: nothing.
AUGMENTATIONS = ("mirror", "shift", "rotate", "erase", "contrast", "brightness", "noise", "blur")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

# What `--optimizer NAME` means without a rate: the paper's values where it has one (0.01 for SGD,
# 0.0003 for Adam, from its script), Keras's defaults elsewhere.
DEFAULT_RATES = {"sgd": 0.01, "momentum": 0.01, "rmsprop": 1e-3, "adam": 3e-4, "adamw": 1e-3}


# Keyword of `setting` -> how a message words the bound, and what holds a value against it.
_BOUNDS = {
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def setting(default: Any, about: str, *, choices: tuple[str, ...] = (), **bounds: float) -> Any:
    """A dataclass field with its help and its range: `low` and `high` are in it, `above` and `below` are not."""
    return field(default=default, metadata={"help": about, "choices": choices, "bounds": bounds})


def check(settings: DataclassInstance) -> None:
    """Validates each field that is a `setting` by its choices and its range.

    Raises:
        ValueError: the first that is out of it; says what was expected and what came.
    """
    for each in fields(settings):
        value, choices = getattr(settings, each.name), each.metadata["choices"]
        bounds = [(*_BOUNDS[name], bound) for name, bound in each.metadata["bounds"].items()]
        if choices and value not in choices:
            raise ValueError(f"`{each.name}` must be one of {', '.join(choices)}. Received: {value}.")
        if value is not None and not all(holds(value, bound) for _, holds, bound in bounds):
            expected = " and ".join(f"{words} {bound:g}" for words, _, bound in bounds)
            raise ValueError(f"`{each.name}` must be {expected}. Received: {value}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result, apart from the images themselves.

    The defaults are the paper's settings for model 1: SGD at a constant 0.01, batches of 64, 25 epochs,
    no augmentation, no regularisation.
    """

    dataset: str = setting(
        "fashion_mnist", "a TFDS set (fashion_mnist), folder:PATH of pictures by class, or idx:PATH of IDX files"
    )
    image_size: int = setting(
        0,
        "side that pictures are resized to; 0: their own size if all have one of at most 96 pixels a side, else 64",
        low=0,
        high=1024,
    )
    # Not `seed`, so that runs of several seeds are tested on the same pictures.
    split_seed: int = setting(
        0, "seed of a picture folder's split, where it has none of its own", low=0, high=2**31 - 1
    )
    model: str = setting(
        "basic",
        f"{', '.join(MODELS)}, or MODULE:FUNCTION, which builds your own from an image's shape and the number of "
        "classes; if left out, the paper's two (basic and deep) are trained and the better is pushed",
    )
    normalization: str = setting(
        "scale",
        "scale: pixels divided by 255; standardize: each image minus its mean, divided by its standard deviation; "
        "none: for a model of your own, which normalizes by itself",
        choices=(*NORMALIZATIONS, "none"),
    )
    optimizer: str = setting("sgd", ", ".join(OPTIMIZERS), choices=OPTIMIZERS)
    learning_rate: float = setting(
        0.01, "peak rate; with --optimizer, the default is one that suits it", above=0, high=10
    )
    schedule: str = setting(
        "constant", f"{' or '.join(SCHEDULES)} (warm-up, then cosine decay to zero)", choices=SCHEDULES
    )
    warmup_epochs: float = setting(1.0, "length of the cosine schedule's linear warm-up", low=0, high=1000)
    weight_decay: float = setting(0.0, "decoupled weight decay, for adamw", low=0, high=1)
    batch_size: int = setting(64, "images per step", low=1, high=65_536)
    passes: int = setting(
        1, "how often an epoch goes through the training images; more than once for small sets", low=1, high=10_000
    )
    epochs: int = setting(25, "the most epochs to train", low=1, high=10_000)
    # 1 is the paper's Algorithm 1: "keep the update if it beats every earlier one, else stop".
    patience: int = setting(
        0, "stop after this many epochs without a better validation accuracy; 0: never", low=0, high=10_000
    )
    tie_by_loss: bool = setting(
        False, "of epochs with equal validation accuracy, the one with the lowest loss is the best, not the first"
    )
    dropout: float = setting(0.0, "rate of the dropout before each hidden dense layer", low=0, below=1)
    label_smoothing: float = setting(0.0, "share of the target spread over all classes", low=0, below=1)
    class_weights: bool = setting(False, "weigh an image by one over the square root of its class's number of images")
    # The paper's scripts keep the order that the images come in.
    shuffle: bool = setting(True, "a new order of the training images each epoch")
    mirror: bool = setting(
        False, "mirror each training image with probability one half; by default, of Fashion-MNIST only"
    )
    shift: int = setting(0, "move training images by up to this many pixels along both axes", low=0, high=16)
    rotate: float = setting(0.0, "rotate training images by up to this many degrees either way", low=0, high=180)
    erase: float = setting(
        0.0, "black out a square of this share of each training image's shorter side", low=0, below=1
    )
    contrast: float = setting(
        0.0, "multiply the contrast of training images by a factor from 1 - CONTRAST to 1 + CONTRAST", low=0, high=1
    )
    brightness: float = setting(
        0.0, "brighten or darken training images by up to this many levels of 255", low=0, high=255
    )
    noise: float = setting(
        0.0, "add Gaussian noise with a standard deviation up to this many levels of 255", low=0, high=255
    )
    blur: float = setting(
        0.0, "blur training images by a Gaussian with a deviation up to this many pixels", low=0, high=64
    )
    precision: str = setting(
        "auto",
        f"{', '.join(PRECISIONS)}; auto is mixed_float16 on a GPU with tensor cores, else float32",
        choices=PRECISIONS,
    )
    deterministic: bool = setting(False, "make runs repeatable bit for bit, somewhat slower")
    seed: int = setting(0, "seed of initial weights, dropout, shuffling and augmentation", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        try:
            self.dataset.encode()
        except UnicodeEncodeError as error:
            received = self.dataset.encode("utf-8", "surrogateescape")
            raise ValueError(f"`dataset` must be in UTF-8. Received: {received!r}.") from error
        check(self)
        self._check_model()
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"`weight_decay` goes with the optimizer adamw. Received: {self.weight_decay} with {self.optimizer}."
            )

    def _check_model(self) -> None:
        own = self.model not in MODELS
        if own and not _BUILDER.fullmatch(self.model):
            raise ValueError(
                f"`model` must be one of {', '.join(MODELS)}, or MODULE:FUNCTION for your own. Received: {self.model}."
            )
        if own != (self.normalization == "none") or (own and self.dropout):
            raise ValueError(
                "`normalization` must be none and `dropout` 0 for a model of your own (MODULE:FUNCTION), which has "
                "its own, and normalization none is for no other. "
                f"Received: {self.normalization} and {self.dropout:g} for {self.model}."
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
            counted(self.epochs, "epoch"),
            f"seed {self.seed}",
        ]
        if self.normalization not in ("scale", "none"):
            parts.append(self.normalization)
        if self.precision != "auto":
            parts.append(self.precision)
        if not self.shuffle:
            parts.append("not shuffled")
        plain = TrainConfig()
        regularised = ("weight_decay", "dropout", "label_smoothing", *AUGMENTATIONS)
        for name in (*regularised, "class_weights", "passes", "patience", "tie_by_loss", "deterministic"):
            if (value := getattr(self, name)) != getattr(plain, name):
                parts.append(name.replace("_", " ") + ("" if value is True else f" {value:g}"))
        return f"{self.model}: " + ", ".join(parts)


@dataclass(frozen=True)
class RunOptions:
    """What a command does with its runs; nothing here decides what they learn.

    Attributes:
        artifacts: the directory of data, runs and models.
        name: of the model; None: the data set's.
        overrides: thresholds of the gate by name, instead of the data set's own.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.
        resume: the directory of the interrupted run to resume; None: the newest of the same config, if there is one.
        fresh: start over instead.
        tensorboard: write logs for TensorBoard into the run directories.
        allow_anomalies: train on data that is not what it should be; the card says so.
    """

    artifacts: Path
    name: str | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    resume: Path | None = None
    fresh: bool = False
    tensorboard: bool = False
    allow_anomalies: bool = False
