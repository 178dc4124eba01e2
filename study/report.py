"""The report's sections, as one HTML page that needs no other file, and as Markdown without figures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from study import figures, tables
from study.claims import FOUR, RATES
from study.experiments import IN_ORDER, PAPER, RESIDUAL_EPOCHS
from study.intervals import Runs
from study.tables import Table
from trainer.evaluation.figures import confusion_matrix

TITLE = "Two small CNNs on Fashion-MNIST: a paper's experiments, run again"
NUMBERS = {"basic-sgd-0.01": "2.2", "deep-sgd-0.01": "2.5", "basic-sgd-0.5": "2.8", "basic-adam": "2.9"}


@dataclass(frozen=True)
class Section:
    """A heading and what is below it, in this order; figures are SVG files with their captions."""

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[Path, str]] = ()


def render(template: str, sections: Sequence[Section]) -> str:
    """The report by one of this package's templates, `report.html.j2` or `RESULTS.md.j2`."""
    environment = Environment(
        loader=PackageLoader("study", ""),
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    return environment.get_template(template).render(title=TITLE, sections=sections)


def sections(runs: Runs, folder: Path) -> list[Section]:
    """The whole report; what was not run is left out. Draws the figures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        Section("Published and measured", _measured(runs), [tables.accuracies(runs), tables.readings(runs)]),
        Section("The paper's claims", [], [tables.claims(runs)]),
        Section("The paper's figures", FIGURES, figures=list(_figures(runs, folder))),
        Section("Outlook 1: Shirt against T-shirt/top", SHIRTS, [tables.shirt(runs)]),
        Section("Outlook 2: corrupted images", ROBUST, [tables.robustness(runs)], list(_robustness(runs, folder))),
        Section("Outlook 3: a better algorithm, and harder images", HARDER, [tables.harder(runs)]),
    ]
    filled = [each for each in found if each.figures or any(table.rows for table in each.tables)]
    return [*filled, Section("How it was measured", _circumstances(runs))]


def _measured(runs: Runs) -> list[str]:
    return [
        "Each experiment trains one model on 48,000 images for 25 epochs in batches of 64; 12,000 images choose the "
        "epoch whose weights are kept, and 10,000 others are for testing. The paper has one run per experiment.",
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

SHIRTS = [
    "The paper suggests preprocessing that tells a shirt from a T-shirt. Each of three experiments is basic-adam "
    "with one change and seed 0. shirt-details adds a second channel with what blurring removes (collars, buttons, "
    "seams). shirt-twice trains on the pair's images twice, which is a weight of two in the loss. shirt-specialist "
    "trains a second network on the pair only, and uses it where the first one predicts either.",
    "Net: images of the pair gained minus lost. p: of the exact McNemar test for more gains than losses, with Holm's "
    "correction for three experiments.",
]

ROBUST = [
    "The paper suggests models that are robust to rotated and mirrored images. basic-adam is the paper's best, trained "
    "on images as they are. The deep CNN by the trainer's recipes: deep-default-scale with pixels divided by 255, "
    "deep-default with each image standardized instead, deep-robust with more augmentation too. residual is the "
    "network of outlook 3. Seed 0; of basic-adam the mean over seeds.",
    "Measured on 5,000 test images (the row none: on all), as by the gate and in the model cards: rotation in degrees, "
    "shift as a share of the side, noise as a standard deviation in grey levels, blur as one in pixels, contrast as "
    "the share left. The last row is the mean over corruptions of the mean over their strengths.",
]

HARDER = [
    "The paper expects that larger or harder data need better algorithms. Both CNNs by the default recipe, beside a "
    f"residual network by its own, shortened to {RESIDUAL_EPOCHS} epochs, seed 0: on Fashion-MNIST and on photographs, "
    "where each image has a colour of its own and lies on a crop of one of scikit-learn's two sample photographs; "
    "9,600 images are for training. The crops behind the test images are from another part of the photographs.",
    "The last column is positive where the residual network is better; its interval is a bootstrap's, over the test "
    "images alone.",
]


def _circumstances(runs: Runs) -> list[str]:
    every = [run for results in runs.values() for run in results]
    facts = {key: "; ".join(sorted({run.environment[key] for run in every})) for key in every[0].environment}
    seeds = ", ".join(f"{name} {len(results)}" for name, results in runs.items())
    return [
        f"Machine: {facts['machine']}. Versions: {facts['versions']}. Trained at commit {facts['commit']}.",
        f"Runs, with seeds from 0 on: {seeds}.",
        *(
            f"{run.id}, seed {run.seed}, diverged: {run.diverged} Its best epoch before that is tested."
            for run in every
            if run.diverged
        ),
    ]


def _figures(runs: Runs, folder: Path) -> Iterator[tuple[Path, str]]:
    if all(name in runs for name in FOUR):
        path = folder / "validation.svg"
        figures.validation(runs, FOUR, "accuracy", path)
        yield path, "Figure 2.6: the four validation curves. The colour shows the model; solid 0.1, dashed 0.01."
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
    for corruption in figures.DRAWN if any(name in runs for name in figures.ROBUSTNESS) else ():
        path = folder / f"robustness-{corruption}.svg"
        figures.robustness(runs, corruption, path)
        yield path, f"Accuracy by {corruption}. The colour shows the model; marker and line, the experiment."
