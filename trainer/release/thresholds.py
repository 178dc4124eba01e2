"""What the gate demands, as data in one place: each number can be overridden by name, and is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Thresholds:
    """The gate's numbers. The three levels are chances of refusing an equally good model; they add up to 0.05.

    Attributes:
        accuracy_floor: the accuracy to exceed, with its whole 95 % interval; None: the share of the most
            frequent class, which is what guessing gets.
        recall_floor: the recall that no class may be significantly below; None: one over the number of classes.
        calibration_error: the most that the expected calibration error may be, beyond what chance alone gives.
        accuracy_level: significance level of the paired test of the accuracy.
        accuracy_drop: the loss of accuracy against the served version that is still called equal: trainings that
            differ in their seed alone differ by some tenths of a point (`benchmarks/gate.py` measures it).
        recall_level: significance level of the paired tests of all classes' recalls together.
        recall_drop: the loss of a class's recall that is still called equal. Trainings that differ in their
            seed alone trade neighbouring classes (Shirt against T-shirt) by some points.
        robustness_level: significance level of the paired test of the accuracy on corrupted images.
        robustness_drop: the loss of that accuracy that is still called equal.
        infra_requests: how many requests a real server must answer.
        infra_tolerance: the most that a served probability may differ from the Keras model's.
    """

    accuracy_floor: float | None = None
    recall_floor: float | None = None
    calibration_error: float = 0.03
    accuracy_level: float = 0.02
    accuracy_drop: float = 0.005
    recall_level: float = 0.02
    recall_drop: float = 0.05
    robustness_level: float = 0.01
    robustness_drop: float = 0.03
    infra_requests: int = 20
    infra_tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "infra_requests":
                if not (isinstance(value, int) and 1 <= value <= 10_000):
                    raise ValueError(f"`{each.name}` must be a whole number from 1 to 10000. Received: {value}.")
            elif value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"`{each.name}` must be at least 0 and at most 1. Received: {value}.")

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


# Where a data set is known, a floor can say more than "better than guessing". Fashion-MNIST: a linear
# classifier gets 0.842 and people 0.835 (Xiao, Rasul, Vollgraf 2017), so a CNN below 0.8 has not learned it;
# a class it names less than three times in ten has been lost.
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
            raise ValueError(
                f"`threshold` must be NAME=VALUE, such as accuracy_floor=0.8. Received: {option}."
            ) from None
    thresholds_for("", overrides)  # fails before hours of training, not after
    return overrides
