"""The study's tables: published against measured, curves against readings, claims, and the outlook's three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from study.claims import Claim, epochs_to
from study.experiments import AUGMENTED, DIGITS, IN_ORDER, PAIR, PAPER, SHIRT, STRENGTHS
from study.intervals import Estimate, accuracy, paired
from study.paper import EPOCHS_READ, PUBLISHED
from study.results import Result
from trainer.significance import holm, mcnemar

Runs = Mapping[str, Sequence[Result]]
CLOSE = 0.02  # a curve that is this near to the paper's reading is the same


@dataclass(frozen=True)
class Table:
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def accuracies(runs: Runs) -> Table:
    rows = []
    for experiment in PAPER:
        if experiment.id in runs:
            name, published = experiment.id, PUBLISHED[experiment.id].test_accuracy
            found = accuracy(runs[name])
            rows.append(
                [
                    name,
                    "none" if published is None else f"{published:.4f}",
                    f"{found.mean:.4f}",
                    "" if found.deviation is None else f"{found.deviation:.4f}",
                    _interval(found),
                    "" if published is None else "yes" if published in found else "no",
                    _in_order(runs, name),
                    f"{np.mean([epochs_to(run) for run in runs[name]]):.1f}",
                ]
            )
    header = ["experiment", "published", "mean", "deviation", "95 % interval", "published inside", "not shuffled"]
    return Table("Test accuracy, published and measured", [*header, "epochs to 0.85"], rows)


def distances(runs: Runs) -> list[str]:
    """A sentence for each published accuracy outside the measured interval: how far, and what comes closer."""
    sentences = []
    for name, published in ((name, each.test_accuracy) for name, each in PUBLISHED.items() if name in runs):
        found = None if published is None else accuracy(runs[name])
        if published is None or found is None or published in found:
            continue
        edge = min((found.low, found.high), key=lambda each: abs(each - published))
        low, high = found.one_more()
        one = "inside" if low <= published <= high else "outside"
        sentences.append(
            f"{name}: the published {published:.4f} lies {abs(published - edge):.4f} "
            f"{'above' if published > edge else 'below'} the interval of the mean, and {one} that of one further run "
            f"({low:.4f} to {high:.4f}), which is what a single published run is to be held against."
        )
    for name in PUBLISHED:
        published = PUBLISHED[name].test_accuracy
        if published and name in runs and name + IN_ORDER in runs:
            as_is, in_order = accuracy(runs[name]), accuracy(runs[name + IN_ORDER])
            closer = abs(in_order.mean - published) < abs(as_is.mean - published)
            sentences.append(
                f"{name}: not shuffled, {in_order.mean:.4f}, is {in_order.mean - published:+.4f} from the published; "
                f"shuffled is {as_is.mean - published:+.4f}. {'Not shuffled' if closer else 'Shuffled'} comes closer."
            )
    return sentences


def readings(runs: Runs) -> Table:
    """Validation accuracy at the epochs that were read off the paper's curves."""
    rows = []
    for name, published in PUBLISHED.items():
        if name not in runs or name + IN_ORDER not in runs:
            continue
        for epoch in EPOCHS_READ:
            if epoch in published.validation and epoch < len(runs[name][0].history["val_accuracy"]):
                paper = published.validation[epoch]
                as_is, in_order = (
                    float(np.mean([run.history["val_accuracy"][epoch] for run in runs[each]]))
                    for each in (name, name + IN_ORDER)
                )
                near = "yes" if abs(in_order - paper) <= CLOSE else "no"
                numbers = [f"{paper:.3f}", f"{as_is:.4f}", f"{in_order:.4f}", f"{in_order - paper:+.4f}", near]
                rows.append([name, str(epoch), *numbers])
    header = ["experiment", "epoch", "paper", "shuffled", "not shuffled", "not shuffled - paper", f"within {CLOSE}"]
    return Table("Validation accuracy by epoch (from 0), read off the paper's curves and measured", header, rows)


def claims(judged: Sequence[Claim]) -> Table:
    rows = [[each.says, each.verdict, each.found, each.test] for each in judged]
    return Table("The paper's claims", ["claim", "verdict", "found", "test"], rows)


def shirt(runs: Runs) -> Table | None:
    """The pair's confusion before and after each try, with the same seed."""
    tries = [each.id for each in SHIRT if each.id in runs and paired(runs[each.id], runs["basic-adam"])]
    if not tries:
        return None
    pairs = {name: _together(name, *paired(runs[name], runs["basic-adam"])[0]) for name in tries}
    changed = {name: _won_and_lost(after, before) for name, (after, before) in pairs.items()}
    # One-sided: the chance of so many wins among the images of the pair that the two models differ on.
    chances = holm([mcnemar(lost, won) for won, lost in changed.values()])
    rows = [["basic-adam (before)", *_pair_counts(pairs[tries[0]][1]), "", ""]]
    for (name, (after, _)), chance in zip(pairs.items(), chances, strict=True):
        won, lost = changed[name]
        rows.append([name, *_pair_counts(after), f"{won - lost:+d}", f"{chance:.3f}"])
    header = ["", "Shirt right", "Shirt as T-shirt", "T-shirt right", "T-shirt as Shirt", "all test images"]
    return Table("Shirt against T-shirt/top: test images", [*header, "pair, net", "p (Holm)"], rows)


def robustness(runs: Runs) -> Table | None:
    """Accuracy on corrupted test images, without and with training on such images."""
    names = ("basic-adam", AUGMENTED.id)
    if not all(name in runs for name in names):
        return None
    rows = [["none", "", *(f"{accuracy(runs[name]).mean:.4f}" for name in names)]]
    for corruption, strengths in STRENGTHS.items():
        for strength in strengths:
            found = [np.mean([run.robustness[corruption][f"{strength:g}"] for run in runs[name]]) for name in names]
            rows.append([corruption, f"{strength:g}", *(f"{each:.4f}" for each in found)])
    return Table("Test accuracy on corrupted images", ["corruption", "strength", *names], rows)


def digits(runs: Runs) -> Table | None:
    rows = []
    for name in (each.id for each in DIGITS if each.id in runs):
        found = accuracy(runs[name])
        images = f"{len(runs[name][0].labels)}"
        rows.append([name, f"{found.mean:.4f}", _interval(found), images, str(found.count)])
    header = ["experiment", "test accuracy", "95 % interval", "test images", "seeds"]
    return Table("scikit-learn's digits", header, rows) if rows else None


def _interval(found: Estimate) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"


def _in_order(runs: Runs, name: str) -> str:
    return f"{accuracy(runs[name + IN_ORDER]).mean:.4f}" if name + IN_ORDER in runs else ""


def _together(name: str, after: Result, before: Result) -> tuple[Result, Result]:
    """A specialist is asked only where the generalist names one of the pair."""
    if name != "shirt-specialist":
        return after, before
    asked = np.isin(before.predicted, [before.classes.index(each) for each in PAIR])
    predicted = np.where(asked, after.predicted, before.predicted)
    right = float(np.mean(predicted == before.labels))
    return replace(after, predicted=predicted.tolist(), test_accuracy=right), before


def _won_and_lost(after: Result, before: Result) -> tuple[int, int]:
    """Images of the pair that only the one, and only the other, names rightly."""
    of_pair = np.isin(after.labels, [after.classes.index(each) for each in PAIR])
    now, then = (np.equal(run.predicted, run.labels) for run in (after, before))
    return int((now & ~then & of_pair).sum()), int((then & ~now & of_pair).sum())


def _pair_counts(run: Result) -> list[str]:
    one, other = (run.classes.index(each) for each in PAIR)
    confusion = run.confusion
    cells = [confusion[one, one], confusion[one, other], confusion[other, other], confusion[other, one]]
    return [*map(str, cells), f"{run.test_accuracy:.4f}"]
