"""What the gate demands, as data in one place: each number can be overridden by name, and is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from trainer.config import check, setting
from trainer.evaluation.intervals import Share, mean_recall


def _share(default: float | None, about: str) -> Any:
    return setting(default, about, low=0, high=1)


@dataclass(frozen=True)
class Thresholds:
    """The gate's numbers. The three levels are the chances of refusing an equally good model; they sum to 0.05.

    Trainings that differ in their seed alone differ in accuracy by some tenths of a point (`benchmarks/gate.py`), and
    trade recall between neighbouring classes (Shirt and T-shirt) by some points: such losses count as equal.
    """

    accuracy_floor: float | None = setting(
        None,
        "to be exceeded by the whole 95 % interval of the accuracy; None: the mean recall of the classes must exceed "
        "one over their number",
        low=0,
        below=1,
    )
    recall_floor: float | None = _share(
        None, "that no class's recall may be significantly below; None: one over the number of classes"
    )
    calibration_error: float = _share(
        0.03, "the most that the expected calibration error may exceed what chance alone gives by"
    )
    accuracy_level: float = _share(0.02, "significance level of the paired test of the accuracy")
    accuracy_drop: float = _share(0.005, "loss of accuracy against the served version that counts as equal")
    recall_level: float = _share(0.02, "significance level of the paired tests of all classes' recalls together")
    recall_drop: float = _share(0.05, "loss of a class's recall that counts as equal")
    robustness_level: float = _share(0.01, "significance level of the paired test of the accuracy on corrupted images")
    robustness_drop: float = _share(0.03, "loss of that accuracy that counts as equal")
    infra_requests: int = setting(24, "how many requests a real server must answer", low=1, high=10_000)
    infra_tolerance: float = _share(1e-3, "the most that a served probability may differ from the Keras model's")

    def __post_init__(self) -> None:
        check(self)

    def share(self, right: np.ndarray | Sequence[int], images: np.ndarray | Sequence[int]) -> tuple[Share, float]:
        """What must lie above the floor, and that floor: the accuracy, or without a floor the classes' mean recall.

        Guessing gets a mean recall of one over the number of classes, however unbalanced these are.

        Args:
            right: of each class, how many test images are classified correctly.
            images: of each class, how many there are.
        """
        if self.accuracy_floor is None:
            return mean_recall(right, images), 1 / int(np.count_nonzero(images))
        total = int(np.sum(images))
        return Share(int(np.sum(right)) / total, total, total), self.accuracy_floor


# Where a data set is known, a floor can say more than "better than guessing". Fashion-MNIST: a linear
# classifier gets 0.842 and people 0.835 (Xiao, Rasul, Vollgraf 2017), so a CNN below 0.8 has not learned it;
# a class with a recall below 0.3 has been lost.
KNOWN: dict[str, Thresholds] = {"fashion_mnist": Thresholds(accuracy_floor=0.8, recall_floor=0.3)}


def thresholds_for(dataset: str, overrides: Mapping[str, float] | None = None) -> Thresholds:
    """The thresholds of a data set by its name, with some of them overridden.

    Raises:
        ValueError: an unknown threshold, or one out of range.
    """
    overrides = dict(overrides or {})
    names = [each.name for each in fields(Thresholds)]
    if unknown := sorted(set(overrides) - set(names)):
        raise ValueError(f"`threshold` must be one of {', '.join(names)}. Received: {', '.join(unknown)}.")
    return replace(KNOWN.get(dataset, Thresholds()), **overrides)  # type: ignore[arg-type]  # validated by Thresholds


def parse(options: list[str]) -> dict[str, float]:
    """Reads NAME=VALUE options.

    Raises:
        ValueError: not of that form, an unknown name, or a value out of range.
    """
    overrides: dict[str, float] = {}
    for option in options:
        name, _, text = option.partition("=")
        try:
            overrides[name] = int(text) if name == "infra_requests" else float(text)
        except ValueError:
            expected = "infra_requests=24, a whole number" if name == "infra_requests" else "accuracy_floor=0.8"
            raise ValueError(f"`threshold` must be NAME=VALUE, such as {expected}. Received: {option}.") from None
    thresholds_for("", overrides)  # fails before hours of training, not after
    return overrides
