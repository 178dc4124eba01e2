"""What the report says: its sections in words, tables and figures. `study.page` makes HTML and Markdown of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study import figures, tables
from study.claims import FOUR, RATES
from study.experiments import AUGMENTED, IN_ORDER, PAPER
from study.intervals import Runs
from study.tables import Table
from trainer.evaluation.figures import confusion_matrix

NUMBERS = {"basic-sgd-0.01": "2.2", "deep-sgd-0.01": "2.5", "basic-sgd-0.5": "2.8", "basic-adam": "2.9"}


@dataclass(frozen=True)
class Section:
    """A heading and what is below it, in this order; figures are files with their captions."""

    title: str
    words: Sequence[str]
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[Path, str]] = ()

    @property
    def filled(self) -> bool:
        return bool(self.figures) or any(table.rows for table in self.tables)


def sections(runs: Runs, folder: Path) -> list[Section]:
    """The whole report; what was not run is left out. Draws the figures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        Section("Published and measured", _measured(runs), [tables.accuracies(runs), tables.readings(runs)]),
        Section("The paper's claims", [], [tables.claims(runs)]),
        Section("The paper's figures", FIGURES, figures=list(_figures(runs, folder))),
        Section("Outlook 1: Shirt against T-shirt/top", ABOUT_SHIRTS, [tables.shirt(runs)]),
        Section("Outlook 2: changed images", ROBUST, [tables.robustness(runs)], list(_robustness(runs, folder))),
        Section("Outlook 3: a second data set", ABOUT_DIGITS, [tables.digits(runs)]),
        Section("How it was measured", _circumstances(runs)),
    ]
    return [section for section in found if section.filled or section is found[-1]]


def _measured(runs: Runs) -> list[str]:
    return [
        "Each experiment trains one model on 48,000 images for 25 epochs in batches of 64; 12,000 images choose the "
        "epoch whose weights are kept, and 10,000 others test them. The paper has one run an experiment.",
        "With several seeds the interval is Student's, of the mean over seeds on these test images; with one it is "
        "Wilson's, of a finite test set. Not shuffled: the training images keep their order, as in the paper's "
        "scripts; seed 0 alone.",
        *tables.distances(runs),
        *([BEYOND] if any(row[-1] == "no" for row in tables.readings(runs).rows) else []),
    ]


BEYOND = (
    f"Where a curve that is not shuffled is more than {tables.CLOSE} from the paper's, the images' order does not "
    "explain it. What else differs from its scripts, such as the distribution of the initial weights, was not tried."
)

FIGURES = ["Lines are means over seeds, bands reach from the lowest seed to the highest; crosses are the paper's."]

ABOUT_SHIRTS = [
    "The paper wishes for a preprocessing by what tells a shirt from a T-shirt. Three tries, each basic-adam with one "
    "thing changed, seed 0. Details: a second channel with what a blurred image lacks (collars, buttons, seams). "
    "Twice: the pair's training images twice, a weight of two in the loss. Specialist: a second network that knows "
    "only the pair, asked where the first one names either.",
    "Net: images of the pair gained minus lost. p: the exact McNemar test's chance of so many gains if nothing had "
    "changed, by Holm's correction for three tries.",
]

ROBUST = [
    "The paper wishes for models that bear turned and mirrored images. Augmented: basic-adam, trained with seed 0 on "
    "images mirrored, turned by up to 45 degrees, shifted by up to 4 pixels and, every other one, noisy (deviation "
    "16). Tested on rotation in degrees, shift as a share of the side, noise as a deviation in grey levels."
]

ABOUT_DIGITS = [
    "Both CNNs with Adam at 0.0003 on the 1,797 handwritten digits of scikit-learn, brought from 8x8 to 28x28 pixels, "
    "as a folder of pictures; a fifth of each class tests, a fifth of the rest chooses the epoch."
]


def _circumstances(runs: Runs) -> list[str]:
    every = [run for results in runs.values() for run in results]
    facts = {key: "; ".join(sorted({run.environment[key] for run in every})) for key in every[0].environment}
    seeds = ", ".join(f"{name} {len(results)}" for name, results in runs.items())
    return [
        f"Machine: {facts['machine']}. Versions: {facts['versions']}. Trained at commit {facts['commit']}.",
        f"Runs, with seeds from 0 on: {seeds}.",
    ]


def _figures(runs: Runs, folder: Path) -> Iterator[tuple[Path, str]]:
    if all(name in runs for name in FOUR):
        path = folder / "validation.svg"
        figures.validation(runs, FOUR, "accuracy", path)
        yield path, "Figure 2.6: the four validation curves. One colour a model; solid 0.1, dashed 0.01."
    if all(name in runs for name in RATES):
        for metric in ("accuracy", "loss"):
            path = folder / f"rates-{metric}.svg"
            figures.validation(runs, RATES, metric, path)
            yield path, f"Figures 2.7 and 2.8: basic at 0.5 (dotted) beside 0.1 and 0.01, validation {metric}."
    for name in (each.id for each in PAPER if each.id in runs):
        for of_name in (each for each in (name, name + IN_ORDER) if each in runs):
            for metric in ("loss", "accuracy"):
                path = folder / f"{of_name}-{metric}.svg"
                figures.curves(runs[of_name], metric, path)
                number = f"Figure {NUMBERS[name]}: " if name in NUMBERS else ""
                shuffled = ", not shuffled" if of_name != name else ""
                yield path, f"{number}{metric.capitalize()} of {name} by epoch{shuffled}."
    if results := runs.get("basic-sgd-0.01"):
        path = folder / "confusion.svg"
        mean = np.rint(np.mean([run.confusion for run in results], axis=0)).astype(int)
        confusion_matrix(mean, results[0].classes, "basic-sgd-0.01, mean over seeds", path)
        yield path, "Figure 2.3: confusion matrix on the test images."


def _robustness(runs: Runs, folder: Path) -> Iterator[tuple[Path, str]]:
    ids = ("basic-adam", AUGMENTED.id)
    for corruption in figures.UNITS if all(name in runs for name in ids) else ():
        path = folder / f"robustness-{corruption}.svg"
        figures.robustness(runs, ids, corruption, path)
        yield path, f"Accuracy by {corruption}; hollow: trained on plain images, filled: on changed ones."
