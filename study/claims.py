"""The paper's claims, each judged by a test that is stated beside its number. A claim may fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.experiments import PAIR
from study.intervals import difference, paired
from study.results import Result

Runs = Mapping[str, Sequence[Result]]

TARGET = 0.85  # validation accuracy that "converges" is held to
MARGIN = 0.005  # half a point of accuracy: less is called equal, as by the trainer's gate
RISE = 0.1  # of validation loss above its minimum: overfitted

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


@dataclass(frozen=True)
class Claim:
    """A claim, the test that decides it, what was found, and the verdict."""

    says: str
    test: str
    found: str
    verdict: str


def judge(runs: Runs) -> list[Claim]:
    """Every claim whose experiments were run."""
    return [claim(runs) for needs, claim in CLAIMS if all(name in runs for name in needs)]


def epochs_to(run: Result, target: float = TARGET) -> int:
    """Epochs until the validation accuracy first reaches a target; one more than there were if it never does."""
    reached = np.flatnonzero(np.array(run.history["val_accuracy"]) >= target)
    return int(reached[0]) + 1 if len(reached) else len(run.history["val_accuracy"]) + 1


def oscillation(run: Result) -> float:
    """The mean size of the step from one epoch's validation accuracy to the next, in the second half."""
    values = run.history["val_accuracy"]
    return float(np.abs(np.diff(values[len(values) // 2 :])).mean())


def overfitting(run: Result) -> float:
    """How far the validation loss has risen at the end above its lowest value."""
    return run.history["val_loss"][-1] - min(run.history["val_loss"])


def _simpler_is_not_worse(runs: Runs) -> Claim:
    pairs = [pair for rate in ("0.01", "0.1") for pair in paired(runs[f"basic-sgd-{rate}"], runs[f"deep-sgd-{rate}"])]
    found = difference(pairs)
    verdict = HOLDS if found.low > -MARGIN else FAILS if found.high < -MARGIN else UNDECIDED
    return Claim(
        "The simpler network is not worse.",
        "Test accuracy of basic minus deep, paired by learning rate and seed; it holds if the whole 95 % interval is "
        f"above -{MARGIN}, and fails if all of it is below.",
        f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}), {found.count} pairs",
        verdict,
    )


def _faster(runs: Runs, fast: str, slow: str) -> tuple[str, bool, bool]:
    """Epochs to the target in words, whether the fast one needs fewer with every seed, and whether it never does."""
    pairs = [(epochs_to(one), epochs_to(other)) for one, other in paired(runs[fast], runs[slow])]
    one, other = (np.mean(column) for column in zip(*pairs, strict=True))
    return f"{fast} {one:.1f}, {slow} {other:.1f}", all(a < b for a, b in pairs), all(a >= b for a, b in pairs)


def _higher_rate_is_faster(runs: Runs) -> Claim:
    found = [_faster(runs, f"{model}-sgd-0.1", f"{model}-sgd-0.01") for model in ("basic", "deep")]
    return Claim(
        "A learning rate of 0.1 converges faster than 0.01.",
        f"Epochs to a validation accuracy of {TARGET}, mean over seeds; it holds if 0.1 needs fewer with either model "
        "and every seed.",
        "; ".join(words for words, _, _ in found),
        _verdict([(always, never) for _, always, never in found]),
    )


def _half_oscillates(runs: Runs) -> Claim:
    ids = ("basic-sgd-0.5", "basic-sgd-0.1", "basic-sgd-0.01")
    sizes = {name: [oscillation(run) for run in runs[name]] for name in ids}
    others = max(max(sizes[name]) for name in ids[1:])
    return Claim(
        "A rate of 0.5 oscillates.",
        "Mean step of the validation accuracy from epoch to epoch in the second half of the training; it holds if "
        "0.5's is larger with every seed than any at 0.1 or 0.01.",
        "; ".join(f"{name} {np.mean(values):.4f}" for name, values in sizes.items()),
        _verdict([(min(sizes[ids[0]]) > others, max(sizes[ids[0]]) <= others)]),
    )


def _half_overfits(runs: Runs) -> Claim:
    ids = ("basic-sgd-0.5", "basic-sgd-0.1", "basic-sgd-0.01")
    rises = {name: [overfitting(run) for run in runs[name]] for name in ids}
    gaps = [run.history["accuracy"][-1] - run.history["val_accuracy"][-1] for run in runs[ids[0]]]
    return Claim(
        "A rate of 0.5 overfits.",
        f"Rise of the validation loss from its minimum to the last epoch; it holds if it is above {RISE} with every "
        "seed.",
        "; ".join(f"{name} {np.mean(values):.3f}" for name, values in rises.items())
        + f"; training accuracy ends {np.mean(gaps):.3f} above validation at 0.5",
        _verdict([(min(rises[ids[0]]) > RISE, max(rises[ids[0]]) <= RISE)]),
    )


def _adam_is_best(runs: Runs) -> Claim:
    others = ("basic-sgd-0.01", "basic-sgd-0.1", "deep-sgd-0.01", "deep-sgd-0.1", "basic-sgd-0.5")
    found = {name: difference(paired(runs["basic-adam"], runs[name])) for name in others}
    closest = min(found, key=lambda name: found[name].mean)
    nearest = found[closest]
    return Claim(
        "Adam gives the best accuracy.",
        "Test accuracy of basic-adam minus each other, paired by seed; it holds if every 95 % interval is above 0, and "
        "fails if one is below 0.",
        f"closest: {closest}, {nearest.mean:+.4f} ({nearest.low:+.4f} to {nearest.high:+.4f})",
        _verdict([(each.low > 0, each.high < 0) for each in found.values()]),
    )


def _adam_is_faster(runs: Runs) -> Claim:
    found = [_faster(runs, "basic-adam", f"basic-sgd-{rate}") for rate in ("0.01", "0.1")]
    return Claim(
        "Adam converges faster.",
        f"Epochs to a validation accuracy of {TARGET}, mean over seeds; it holds if Adam needs fewer than either rate "
        "of SGD with every seed.",
        "; ".join(words for words, _, _ in found),
        _verdict([(always, never) for _, always, never in found]),
    )


def _shirt_is_worst(runs: Runs) -> Claim:
    judged = [run for run in runs["basic-sgd-0.01"] if all(name in run.classes for name in PAIR)]
    worst, taken = [], []
    for run in judged:
        shirt, other = (run.classes.index(name) for name in PAIR)
        recall = run.confusion.diagonal() / run.confusion.sum(axis=1)
        mistaken = run.confusion[shirt].copy()
        mistaken[shirt] = 0
        worst.append(int(recall.argmin()) == shirt)
        taken.append(int(mistaken.argmax()) == other)
    rows = np.mean([run.confusion[run.classes.index(PAIR[0])] for run in judged], axis=0)
    right, *most = sorted(zip(rows, judged[0].classes, strict=True), key=lambda each: (each[1] != PAIR[0], -each[0]))
    return Claim(
        "Shirt is the worst class and is taken for T-shirt.",
        "basic-sgd-0.01: Shirt has the lowest recall of all classes and is mistaken for T-shirt/top most often; it "
        "holds if both are so with every seed.",
        f"of {rows.sum():.0f} shirts {right[0]:.0f} are named rightly; "
        + ", ".join(f"{count:.0f} are called {name}" for count, name in most[:3]),
        _verdict([(all(worst) and all(taken), not any(worst) or not any(taken))]),
    )


def _verdict(tests: Sequence[tuple[bool, bool]]) -> str:
    """Of several tests, each whether it holds and whether it fails."""
    return HOLDS if all(holds for holds, _ in tests) else FAILS if any(fails for _, fails in tests) else UNDECIDED


_RATES = ("basic-sgd-0.01", "basic-sgd-0.1", "basic-sgd-0.5")
_FOUR = ("basic-sgd-0.01", "basic-sgd-0.1", "deep-sgd-0.01", "deep-sgd-0.1")
CLAIMS: list[tuple[Sequence[str], Callable[[Runs], Claim]]] = [
    (_FOUR, _simpler_is_not_worse),
    (_FOUR, _higher_rate_is_faster),
    (_RATES, _half_oscillates),
    (_RATES, _half_overfits),
    ((*_FOUR, "basic-sgd-0.5", "basic-adam"), _adam_is_best),
    (("basic-adam", "basic-sgd-0.01", "basic-sgd-0.1"), _adam_is_faster),
    (("basic-sgd-0.01",), _shirt_is_worst),
]
