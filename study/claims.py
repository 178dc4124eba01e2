"""The paper's claims, each decided by a stated test: it holds, does not hold, or is undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from study.experiments import PAIR
from study.intervals import Runs, difference, paired
from study.results import Result

TARGET = 0.85  # validation accuracy at which a training counts as converged
MARGIN = 0.005  # half a point of accuracy: a smaller difference counts as none, as in the trainer's gate
RISE = 0.1  # of the validation loss above its minimum: more counts as overfitting

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
Test = tuple[bool, bool]  # whether the claim holds, whether it fails; neither: undecided

FOUR = ("basic-sgd-0.1", "basic-sgd-0.01", "deep-sgd-0.1", "deep-sgd-0.01")
RATES = ("basic-sgd-0.5", "basic-sgd-0.1", "basic-sgd-0.01")


@dataclass(frozen=True)
class Claim:
    """A claim, the test that decides it, what was measured, and the verdict."""

    statement: str
    test: str
    found: str
    verdict: str


def judge(runs: Runs) -> list[Claim]:
    """The claims whose experiments were run."""
    return [claim(runs) for needs, claim in CLAIMS if all(name in runs for name in needs)]


def epochs_to(run: Result) -> int:
    """Epochs until the validation accuracy first reaches TARGET; one more than were trained if it never does.

    A run that diverged counts as one that never does, of as many epochs as it was to be trained.
    """
    if run.diverged is not None:
        return int(run.config["epochs"]) + 1
    values = run.history["val_accuracy"]
    return next((epoch for epoch, value in enumerate(values, 1) if value >= TARGET), len(values) + 1)


def oscillation(run: Result) -> float:
    """The mean size of the step from one epoch's validation accuracy to the next, in the second half."""
    values = run.history["val_accuracy"]
    return float(np.abs(np.diff(values[len(values) // 2 :])).mean())


def overfitting(run: Result) -> float:
    """Rise of the validation loss from its minimum to the last epoch."""
    return run.history["val_loss"][-1] - min(run.history["val_loss"])


def _simpler_is_not_worse(runs: Runs) -> Claim:
    pairs = [pair for rate in ("0.01", "0.1") for pair in paired(runs[f"basic-sgd-{rate}"], runs[f"deep-sgd-{rate}"])]
    found = difference(pairs)
    return Claim(
        "The simpler network is not worse.",
        "Test accuracy of basic minus deep, paired by learning rate and seed; it holds if the whole 95 % interval is "
        f"above -{MARGIN}, and fails if all of it is below.",
        f"{found:+.4f}, {found.count} pairs",
        _verdict([(found.low > -MARGIN, found.high < -MARGIN)]),
    )


def _higher_rate_is_faster(runs: Runs) -> Claim:
    found, tests = _faster(runs, [(f"{model}-sgd-0.1", f"{model}-sgd-0.01") for model in ("basic", "deep")])
    return Claim(
        "A learning rate of 0.1 converges faster than 0.01.",
        f"Epochs to a validation accuracy of {TARGET}, mean over seeds; it holds if 0.1 needs fewer with either model "
        "and every seed.",
        found,
        _verdict(tests),
    )


def _adam_is_faster(runs: Runs) -> Claim:
    found, tests = _faster(runs, [("basic-adam", f"basic-sgd-{rate}") for rate in ("0.01", "0.1")])
    return Claim(
        "Adam converges faster.",
        f"Epochs to a validation accuracy of {TARGET}, mean over seeds; it holds if Adam needs fewer than SGD at "
        "either rate with every seed.",
        found,
        _verdict(tests),
    )


def _half_oscillates(runs: Runs) -> Claim:
    found, test = _larger_at_half(runs, oscillation, ".4f")
    return Claim(
        "A rate of 0.5 oscillates.",
        "Mean step of the validation accuracy from epoch to epoch in the second half of the training; it holds if "
        "0.5's is larger with every seed than any at 0.1 or 0.01.",
        found,
        _verdict([test]),
    )


def _half_overfits(runs: Runs) -> Claim:
    found, test = _larger_at_half(runs, overfitting, ".3f")
    if not _diverged(runs):
        rises = [overfitting(run) for run in runs["basic-sgd-0.5"]]
        gaps = [run.history["accuracy"][-1] - run.history["val_accuracy"][-1] for run in runs["basic-sgd-0.5"]]
        found += f"; at 0.5 training accuracy ends {np.mean(gaps):.3f} above validation"
        test = min(rises) > RISE, max(rises) <= RISE
    return Claim(
        "A rate of 0.5 overfits.",
        f"Rise of the validation loss from its minimum to the last epoch; it holds if it is above {RISE} with every "
        "seed.",
        found,
        _verdict([test]),
    )


def _adam_is_best(runs: Runs) -> Claim:
    found = {name: difference(paired(runs["basic-adam"], runs[name])) for name in (*FOUR, "basic-sgd-0.5")}
    closest = min(found, key=lambda name: found[name].mean)
    return Claim(
        "Adam gives the best accuracy.",
        "Test accuracy of basic-adam minus each other's, paired by seed; it holds if every 95 % interval is above 0, "
        "and fails if one is below 0.",
        f"closest: {closest}, {found[closest]:+.4f}",
        _verdict([(each.low > 0, each.high < 0) for each in found.values()]),
    )


def _shirt_is_worst(runs: Runs) -> Claim:
    confusions = np.array([run.confusion for run in runs["basic-sgd-0.01"]])
    classes = runs["basic-sgd-0.01"][0].classes
    shirt, other = (classes.index(name) for name in PAIR)
    lowest = (confusions.diagonal(axis1=1, axis2=2) / confusions.sum(axis=2)).argmin(axis=1)
    # Shirts by the class that is predicted instead.
    mistaken = np.where(np.arange(len(classes)) == shirt, 0, confusions[:, shirt])
    confirmed = (lowest == shirt) & (mistaken.argmax(axis=1) == other)
    correct, mean = confusions[:, shirt, shirt].mean(), mistaken.mean(axis=0)
    return Claim(
        "Shirt is the worst class and is taken for T-shirt.",
        "basic-sgd-0.01: Shirt has the lowest recall of all classes, and no other class is predicted as often for it "
        "as T-shirt/top; it holds if that is so with every seed, and fails if with none.",
        f"of {correct + mean.sum():.0f} shirts {correct:.0f} are classified correctly; "
        + ", ".join(f"{mean[index]:.0f} are predicted as {classes[index]}" for index in np.argsort(-mean)[:3]),
        _verdict([(bool(confirmed.all()), not confirmed.any())]),
    )


def _faster(runs: Runs, rivals: Sequence[tuple[str, str]]) -> tuple[str, list[Test]]:
    """Mean epochs to the target as text; for each pair, whether the first needs fewer with every seed, with none."""
    means: dict[str, float] = {}
    tests: list[Test] = []
    for names in rivals:
        epochs = np.array([[epochs_to(run) for run in pair] for pair in paired(*(runs[name] for name in names))])
        means |= dict(zip(names, epochs.mean(axis=0), strict=True))
        fewer = epochs[:, 0] < epochs[:, 1]
        tests.append((bool(fewer.all()), not fewer.any()))
    return "; ".join(f"{name} {mean:.1f}" for name, mean in means.items()), tests


def _larger_at_half(runs: Runs, measure: Callable[[Result], float], spec: str) -> tuple[str, Test]:
    """The means of a measure at each rate as text, and whether it is larger at 0.5 with every seed, with none.

    A run that diverged has no such measure: where there is one, the text names its rate, and nothing is decided.
    """
    if diverged := _diverged(runs):
        return f"runs that diverged: {diverged}", (False, False)
    found = {name: [measure(run) for run in runs[name]] for name in RATES}
    half, highest = found[RATES[0]], max(max(found[name]) for name in RATES[1:])
    text = "; ".join(f"{name} {np.mean(values):{spec}}" for name, values in found.items())
    return text, (min(half) > highest, max(half) <= highest)


def _diverged(runs: Runs) -> str:
    """The runs of RATES that diverged, counted by rate; empty where none did."""
    counts = {name: sum(run.diverged is not None for run in runs[name]) for name in RATES}
    return "; ".join(f"{name} {count} of {len(runs[name])}" for name, count in counts.items() if count)


def _verdict(tests: Sequence[Test]) -> str:
    return HOLDS if all(holds for holds, _ in tests) else FAILS if any(fails for _, fails in tests) else UNDECIDED


CLAIMS: list[tuple[Sequence[str], Callable[[Runs], Claim]]] = [
    (FOUR, _simpler_is_not_worse),
    (FOUR, _higher_rate_is_faster),
    (RATES, _half_oscillates),
    (RATES, _half_overfits),
    ((*FOUR, "basic-sgd-0.5", "basic-adam"), _adam_is_best),
    (("basic-adam", "basic-sgd-0.01", "basic-sgd-0.1"), _adam_is_faster),
    (("basic-sgd-0.01",), _shirt_is_worst),
]
