"""The gate: checks that decide whether a model may be served, each with its number, threshold and one sentence.

Every check is a pure function. Those called `..._kept` compare with the version now served on the same images;
the first version ever has to pass the others only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from registry.card import ModelCard
from trainer.evaluation.calibration import chance_error
from trainer.evaluation.metrics import Evaluation
from trainer.evaluation.robustness import Robustness
from trainer.release.significance import binomial_tail, bootstrap_interval, holm, mcnemar
from trainer.release.thresholds import Thresholds

Classes = Sequence[str]


@dataclass(frozen=True)
class Check:
    """One check's outcome; `value` is what was measured and `threshold` what it was held against."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The gate's decision on a model.

    Attributes:
        thresholds: what it was judged by.
        checks: every check that applied, in their order.
        against: the served version that it was compared with; None where there was none.
        forced: why it is pushed although refused; None unless it is forced.
        forced_by: the user who forces it.
    """

    thresholds: Thresholds
    checks: tuple[Check, ...]
    against: int | None = None
    forced: str | None = None
    forced_by: str | None = None

    @property
    def accepted(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """The sentences of the checks that failed."""
        return [check.sentence for check in self.checks if not check.passed]

    def to_json(self) -> dict[str, Any]:
        return {"accepted": self.accepted, **asdict(self)}


def accuracy_floor(evaluation: Evaluation, thresholds: Thresholds) -> Check:
    """The whole interval of the accuracy lies above the floor."""
    images = evaluation.confusion.sum()
    guessing = float(evaluation.confusion.sum(axis=1).max() / images)
    known = thresholds.accuracy_floor
    floor, what = (guessing, "what guessing gets") if known is None else (known, "the floor")
    low, high = evaluation.interval
    passed = low > floor
    sentence = (
        f"Accuracy on {images:,} test images is {evaluation.accuracy:.4f} ({low:.4f} to {high:.4f}), "
        f"{'above' if passed else 'not significantly above'} {what}, {floor:.4f}."
    )
    return Check("accuracy_floor", passed, low, floor, sentence)


def recall_floor(evaluation: Evaluation, classes: Classes, thresholds: Thresholds) -> Check:
    """No class's recall is significantly below the floor (exact binomial test, Holm's correction)."""
    floor = 1 / len(classes) if thresholds.recall_floor is None else thresholds.recall_floor
    right, images = evaluation.confusion.diagonal(), evaluation.confusion.sum(axis=1)
    p_values = holm([binomial_tail(int(k), int(n), floor) for k, n in zip(right, images, strict=True)])
    lost = [index for index, p in enumerate(p_values) if p < thresholds.recall_level]
    recall = np.where(images > 0, evaluation.recall, np.inf)  # a class without test images has none
    lowest = int(recall.argmin())
    found = f"No class has recall significantly below {floor:.4f}"
    if lost:
        named = ", ".join(f"{classes[i]} ({right[i]} of {images[i]:,} images)" for i in lost)
        found = f"Recall is significantly below {floor:.4f} for {named}"
    sentence = f"{found}; the lowest is {recall[lowest]:.4f}, of {classes[lowest]}."
    return Check("recall_floor", not lost, float(recall[lowest]), floor, sentence)


def calibration_bound(evaluation: Evaluation, thresholds: Thresholds) -> Check:
    """The calibration error is no more than the bound and what a finite test set adds to it by chance."""
    chance = chance_error(evaluation.probabilities.max(axis=1), 0.99)
    ece, bound = evaluation.calibrated.ece, thresholds.calibration_error + chance
    passed = ece <= bound
    sentence = (
        f"The expected calibration error is {ece:.4f} at temperature {evaluation.temperature:.3f}, "
        f"{'within' if passed else 'above'} the bound of {bound:.4f} "
        f"({thresholds.calibration_error:g}, and {chance:.4f} that chance adds with so many images)."
    )
    return Check("calibration", passed, ece, bound, sentence)


def same_kind(new: ModelCard, old: ModelCard) -> Check:
    """The model takes and gives what the served one does, so that clients need not change."""
    differences = [
        f"{what} {_shortened(ours)} instead of {_shortened(theirs)}"
        for what, ours, theirs in (
            ("data set", new.data.get("dataset"), old.data.get("dataset")),
            ("input", new.input, old.input),
            ("output", new.output, old.output),
            ("classes", new.classes, old.classes),
        )
        if ours != theirs
    ]
    if differences:
        sentence = f"The data is of another kind than the served version's: {'; '.join(differences)}."
    elif new.data.get("sha256") == old.data.get("sha256"):
        sentence = "It was trained on the same data as the served version."
    else:
        sentence = "Its data has other images than the served version's, of the same shape and classes."
    return Check("same_kind", not differences, float(len(differences)), 0.0, sentence)


def accuracy_kept(new: np.ndarray, old: np.ndarray, thresholds: Thresholds) -> Check:
    """Not significantly less accurate than the served version; `new` and `old` bool (n,), right on each image."""
    won, lost = _won_and_lost(new, old)
    p = mcnemar(won, lost, thresholds.accuracy_drop * len(new))
    low, high = bootstrap_interval(new.astype(float) - old)
    passed = p >= thresholds.accuracy_level
    sentence = (
        f"Accuracy differs by {new.mean() - old.mean():+.4f} from the served version's "
        f"(bootstrap interval {low:+.4f} to {high:+.4f}): {won:,} images won, {lost:,} lost; "
        f"it is {'not ' if passed else ''}{_worse(thresholds.accuracy_drop)} (exact McNemar p {_p(p)})."
    )
    return Check("accuracy_kept", passed, p, thresholds.accuracy_level, sentence)


def recall_kept(
    new: np.ndarray, old: np.ndarray, labels: np.ndarray, classes: Classes, thresholds: Thresholds
) -> Check:
    """No class is recalled significantly worse than by the served version (exact McNemar, Holm's correction).

    Args:
        new, old: bool (n,), right on each image.
        labels: int (n,), the true classes.
    """
    p_values, changes = [], []
    for label in range(len(classes)):
        won, lost = _won_and_lost(new[labels == label], old[labels == label])
        images = int((labels == label).sum())
        p_values.append(mcnemar(won, lost, thresholds.recall_drop * images))
        changes.append((won - lost) / max(1, images))
    corrected = holm(p_values)
    worse = [index for index, p in enumerate(corrected) if p < thresholds.recall_level]
    worst = min(range(len(classes)), key=lambda index: (corrected[index], changes[index]))
    named = ", ".join(f"{classes[i]} ({changes[i]:+.4f}, p {_p(corrected[i])})" for i in worse or [worst])
    found = f"is {_worse(thresholds.recall_drop)} than the served version's"
    found = f"Recall {found}" if worse else f"No class's recall {found}; the lowest p-value is"
    return Check("recall_kept", not worse, corrected[worst], thresholds.recall_level, f"{found} for {named}.")


def robustness_kept(new: Robustness, old: Robustness, thresholds: Thresholds) -> Check:
    """Accuracy on corrupted images is not significantly worse than the served version's by more than the bound."""
    differences, bound = new.by_image() - old.by_image(), -thresholds.robustness_drop
    low, high = bootstrap_interval(differences, 1 - 2 * thresholds.robustness_level)
    passed = high >= bound
    sentence = (
        f"Accuracy on corrupted images is {new.mean:.4f}, the served version's {old.mean:.4f}: the difference, "
        f"{low:+.4f} to {high:+.4f}, is {'not ' if passed else ''}significantly beyond the bound of {bound:+.4f}."
    )
    return Check("robustness_kept", passed, float(differences.mean()), bound, sentence)


def _won_and_lost(new: np.ndarray, old: np.ndarray) -> tuple[int, int]:
    """How many images only the new, and only the old model classifies correctly."""
    return int((new & ~old).sum()), int((old & ~new).sum())


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _worse(drop: float) -> str:
    return f"worse by significantly more than {drop:g}" if drop else "significantly worse"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
