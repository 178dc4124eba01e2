"""The gate: checks that decide whether a model may be served, each with its number, threshold and one sentence.

Every check is a pure function. Those called `..._kept` compare with the served version on the same images;
the first version ever has to pass the others only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from registry.card import ModelCard
from trainer.evaluation.calibration import chance_error
from trainer.evaluation.intervals import Share
from trainer.evaluation.metrics import Evaluation
from trainer.evaluation.robustness import Robustness
from trainer.release.significance import binomial_tail, bootstrap_interval, holm, mcnemar, won_and_lost
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
    """The whole interval of the accuracy lies above the floor; without one, that of the classes' mean recall."""
    share, floor = thresholds.share(evaluation.confusion.diagonal(), evaluation.confusion.sum(axis=1))
    what = "what guessing gets" if thresholds.accuracy_floor is None else "the floor"
    low, high = share.interval
    passed = low > floor
    sentence = (
        f"{'Accuracy' if share.is_plain else 'The mean recall of the classes'} on {share.images:,} test images is "
        f"{share.value:.4f} ({low:.4f} to {high:.4f}), {'' if passed else 'not significantly '}above {what}, "
        f"{floor:.4f}{'' if passed else _to_pass(share, floor)}."
    )
    return Check("accuracy_floor", passed, low, floor, sentence)


def _to_pass(share: Share, floor: float) -> str:
    """Whether there are too few images to tell, and what would have been significantly above the floor on as many."""
    few = ": too few images to tell" if share.value > floor else ""
    enough = "on so few, even 100 % would not be" if share.needed(floor) >= 1 else f"{share.passing(floor)} would be"
    return f"{few}; {enough}"


def recall_floor(evaluation: Evaluation, classes: Classes, thresholds: Thresholds) -> Check:
    """No class's recall is significantly below the floor (exact binomial test, Holm's correction)."""
    floor = 1 / len(classes) if thresholds.recall_floor is None else thresholds.recall_floor
    right, images = evaluation.confusion.diagonal(), evaluation.confusion.sum(axis=1)
    p_values = holm([binomial_tail(int(k), int(n), floor) for k, n in zip(right, images, strict=True)])
    lost = [index for index, p in enumerate(p_values) if p < thresholds.recall_level]
    recall = np.where(images > 0, evaluation.recall, np.inf)  # a class without test images has none
    lowest = int(recall.argmin())
    sentence = (
        f"The lowest recall is {recall[lowest]:.4f}, of {classes[lowest]} ({right[lowest]} of {images[lowest]:,} "
    )
    if lost:
        named = ", ".join(f"{classes[i]} ({right[i]} of {images[i]:,} images)" for i in lost)
        sentence = f"Recall is significantly below the floor of {floor:.4f} for {named}."
    elif recall[lowest] < floor:
        sentence += f"images): too few images to tell whether it is below the floor of {floor:.4f}."
    else:
        sentence += f"images), above the floor of {floor:.4f}."
    return Check("recall_floor", not lost, float(recall[lowest]), floor, sentence)


def calibration_bound(evaluation: Evaluation, thresholds: Thresholds) -> Check:
    """The calibration error is no more than the bound and what a finite test set adds to it by chance."""
    chance = chance_error(evaluation.probabilities.max(axis=1), 0.99)
    ece, bound = evaluation.calibrated.ece, thresholds.calibration_error + chance
    passed = ece <= bound
    sentence = (
        f"The expected calibration error is {ece:.4f} at temperature {evaluation.temperature:.3f}, "
        f"{'within' if passed else 'above'} the bound of {bound:.4f} "
        f"({thresholds.calibration_error:g}, and {chance:.4f} that chance adds with this number of images)."
    )
    return Check("calibration", passed, ece, bound, sentence)


def same_kind(new: ModelCard, old: ModelCard) -> Check:
    """The model takes and gives what the served one does, so that clients need not change."""
    differences = [
        f"{what} {_shortened(ours)} instead of {_shortened(theirs)}"
        for what, ours, theirs in (
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
    won, lost = won_and_lost(new, old)
    p = mcnemar(won, lost, thresholds.accuracy_drop * len(new))
    difference, (low, high) = new.mean() - old.mean(), bootstrap_interval(new.astype(float) - old)
    passed = p >= thresholds.accuracy_level
    sentence = (
        f"Accuracy is {_compared(difference)} the served version's (bootstrap interval of the difference "
        f"{low:+.4f} to {high:+.4f}): {won:,} images are classified correctly only by this model, "
        f"{lost:,} only by that one"
    )
    if lost > won:
        sentence += f"; {_outcome(difference, thresholds.accuracy_drop, passed)} (exact McNemar p {_p(p)})"
    return Check("accuracy_kept", passed, p, thresholds.accuracy_level, f"{sentence}.")


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
        won, lost = won_and_lost(new[labels == label], old[labels == label])
        images = int((labels == label).sum())
        p_values.append(mcnemar(won, lost, thresholds.recall_drop * images))
        changes.append((won - lost) / max(1, images))
    corrected = holm(p_values)
    worse = [index for index, p in enumerate(corrected) if p < thresholds.recall_level]
    most = min(range(len(classes)), key=changes.__getitem__)
    named = ", ".join(f"{classes[i]} ({changes[i]:+.4f}, p {_p(corrected[i])})" for i in worse or [most])
    if worse:
        worst = _outcome(changes[most], thresholds.recall_drop, False)
        sentence = f"Recall is {worst} than the served version's for {named}."
    elif changes[most] < 0:
        sentence = f"Recall fell most for {named}: {_outcome(changes[most], thresholds.recall_drop, True)}."
    else:
        sentence = "No class's recall is lower than the served version's."
    return Check("recall_kept", not worse, min(corrected), thresholds.recall_level, sentence)


def robustness_kept(new: Robustness, old: Robustness, thresholds: Thresholds) -> Check:
    """Accuracy on corrupted images is not significantly worse than the served version's by more than the bound."""
    differences, bound = new.by_image() - old.by_image(), -thresholds.robustness_drop
    low, high = bootstrap_interval(differences, 1 - 2 * thresholds.robustness_level)
    passed = high >= bound
    sentence = (
        f"Accuracy on corrupted images is {new.mean:.4f}, {_compared(new.mean - old.mean)} the served version's "
        f"({low:+.4f} to {high:+.4f})"
    )
    if new.mean < old.mean:
        sentence += f": {_outcome(new.mean - old.mean, thresholds.robustness_drop, passed)}"
    return Check("robustness_kept", passed, float(differences.mean()), bound, f"{sentence}.")


def _compared(difference: float) -> str:
    """As in `0.0200 lower than`."""
    return f"{abs(difference):.4f} {'higher' if difference > 0 else 'lower'} than" if difference else "the same as"


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _outcome(difference: float, drop: float, passed: bool) -> str:
    """What a loss against the served version amounts to."""
    if not passed:
        return f"worse by significantly more than {drop:g}" if drop else "significantly worse"
    if difference >= -drop:
        return f"within the {drop:g} that counts as equal"
    return f"too few images to tell whether {f'the loss exceeds {drop:g}' if drop else 'it is worse'}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
