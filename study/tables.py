"""The report's tables: published and measured accuracies and curves, claims, and the three of the outlook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from study.claims import epochs_to, judge
from study.experiments import ALL, IN_ORDER, PAIR, PAPER, SETS, SHIRT, SPECIALIST
from study.intervals import Runs, accuracy, difference, paired
from study.paper import EPOCHS_READ, PUBLISHED
from study.results import Result, by_epoch
from trainer.release.significance import holm, mcnemar, won_and_lost

CLOSE = 0.02  # a validation accuracy this close to the one read off the paper's curve counts as equal


@dataclass(frozen=True)
class Table:
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def accuracies(runs: Runs) -> Table:
    """Published and measured test accuracy of each of the paper's experiments that was run."""
    rows = []
    for name in (each.id for each in PAPER if each.id in runs):
        published, found = PUBLISHED[name].test_accuracy, accuracy(runs[name])
        rows.append(
            [
                name,
                f"{published:.4f}" if published else "none",
                f"{found:.4f}",
                f"{found.deviation:.4f}" if found.deviation is not None else "",
                ("yes" if published in found else "no") if published else "",
                f"{accuracy(runs[name + IN_ORDER]).mean:.4f}" if name + IN_ORDER in runs else "",
                f"{np.mean([epochs_to(run) for run in runs[name]]):.1f}",
            ]
        )
    header = [
        "experiment",
        "published",
        "mean (95 % interval)",
        "standard deviation",
        "published value in interval",
        "not shuffled",
    ]
    return Table("Test accuracy", [*header, "epochs to 0.85"], rows)


def distances(runs: Runs) -> list[str]:
    """A sentence per published accuracy: how far off the measured one is, and which order of images is closer."""
    sentences = []
    for name, published in ((name, each.test_accuracy) for name, each in PUBLISHED.items()):
        if not published or name not in runs:
            continue
        found, in_order = accuracy(runs[name]), runs.get(name + IN_ORDER)
        text = f"{name}: {found.mean - published:+.4f} from the published {published:.4f}"
        if published not in found and found.count == 1:
            text += f", which is outside the single run's interval ({found.low:.4f} to {found.high:.4f})"
        elif published not in found:
            further = found.one_more()
            text += (
                f", which is outside the interval of the mean and {'inside' if published in further else 'outside'} "
                f"that of one further run ({further.low:.4f} to {further.high:.4f}), as the published one is"
            )
        if in_order:
            distance = accuracy(in_order).mean - published
            closer = "not shuffled" if abs(distance) < abs(found.mean - published) else "shuffled"
            text += f"; not shuffled {distance:+.4f}: {closer} comes closer"
        sentences.append(text + ".")
    return sentences


def readings(runs: Runs) -> Table:
    """Validation accuracy at the epochs that were read off the paper's curves."""
    rows = []
    for name in (each for each in PUBLISHED if each in runs and each + IN_ORDER in runs):
        shuffled, in_order = (
            np.nanmean(by_epoch(runs[each], "val_accuracy"), axis=0) for each in (name, name + IN_ORDER)
        )
        for epoch in EPOCHS_READ:
            paper = PUBLISHED[name].validation.get(epoch)
            if paper and epoch < min(len(shuffled), len(in_order)):
                close = "yes" if abs(in_order[epoch] - paper) <= CLOSE else "no"
                curves = (f"{curve[epoch]:.4f}" for curve in (shuffled, in_order))
                rows.append([name, f"{epoch}", f"{paper:.3f}", *curves, close])
    header = ["experiment", "epoch", "paper", "shuffled", "not shuffled", f"not shuffled within {CLOSE}"]
    return Table("Validation accuracy by epoch, read off the paper's curves (epochs from 0) and measured", header, rows)


def claims(runs: Runs) -> Table:
    """The verdict on each of the paper's claims, with its test and what was measured."""
    rows = [[each.statement, each.verdict, each.found, each.test] for each in judge(runs)]
    return Table("Each claim, and the test that decides it", ["claim", "verdict", "found", "test"], rows)


def shirt(runs: Runs) -> Table:
    """The pair's confusion before and after each change, with the same seed."""
    rows = []
    if before := runs.get("basic-adam"):
        changed = {each.id: _used(each.id, runs[each.id][0], before[0]) for each in SHIRT if each.id in runs}
        counts = [_won_and_lost(after, before[0]) for after in changed.values()]
        # One-sided: the probability of so many wins among the pair's images on which the two models differ.
        p_values = holm([mcnemar(lost, won) for won, lost in counts])
        rows = [["basic-adam", *_pair_counts(before[0]), "", ""]] if changed else []
        for (name, after), (won, lost), p in zip(changed.items(), counts, p_values, strict=True):
            rows.append([name, *_pair_counts(after), f"{won - lost:+d}", f"{p:.3f}"])
    header = ["", "Shirt right", "Shirt as T-shirt", "T-shirt right", "T-shirt as Shirt", "test accuracy"]
    return Table("The pair's test images, by seed 0", [*header, "pair, net", "p"], rows)


def robustness(runs: Runs) -> Table:
    """Accuracy on corrupted test images, the mean over seeds, a column for each experiment that measured it."""
    names = [each.id for each in ALL if each.robust and each.id in runs]
    columns = [runs[name] for name in names]
    rows = []
    if columns:
        rows = [["none", "", *(f"{accuracy(results).mean:.4f}" for results in columns)]]
        for corruption, strengths in columns[0][0].robustness.items():
            for strength in strengths:
                found = [np.mean([run.robustness[corruption][strength] for run in results]) for results in columns]
                rows.append([corruption, strength, *(f"{each:.4f}" for each in found)])
        rows.append(["mean", "", *(f"{np.mean([run.corrupted for run in results]):.4f}" for results in columns)])
    return Table("Test accuracy on corrupted images", ["corruption", "strength", *names], rows)


def harder(runs: Runs) -> Table:
    """The residual network beside both CNNs, on each set of images."""
    rows = []
    for images, names in SETS.items():
        *others, residual = names
        for name in (each for each in names if each in runs):
            compared = name in others and residual in runs
            ahead = f"{difference(paired(runs[residual], runs[name])):+.4f}" if compared else ""
            rows.append([images, name, f"{accuracy(runs[name]):.4f}", ahead])
    header = ["images", "experiment", "test accuracy (95 % interval)", "residual minus it (95 % interval)"]
    return Table("Three CNNs on two sets of images", header, rows)


def _used(name: str, after: Result, before: Result) -> Result:
    """The model as it is used: the specialist only where the first model predicts one of the pair."""
    if name != SPECIALIST:
        return after
    of_pair = np.isin(before.predicted, [before.classes.index(each) for each in PAIR])
    predicted = np.where(of_pair, after.predicted, before.predicted)
    return replace(after, predicted=predicted.tolist(), test_accuracy=float(np.mean(predicted == before.labels)))


def _won_and_lost(after: Result, before: Result) -> tuple[int, int]:
    """How many of the pair's images only the first, and only the second model classifies correctly."""
    of_pair = np.isin(after.labels, [after.classes.index(each) for each in PAIR])
    return won_and_lost(after.correct[of_pair], before.correct[of_pair])


def _pair_counts(run: Result) -> list[str]:
    one, other = (run.classes.index(each) for each in PAIR)
    cells = [run.confusion[at] for at in ((one, one), (one, other), (other, other), (other, one))]
    return [*map(str, cells), f"{run.test_accuracy:.4f}"]
