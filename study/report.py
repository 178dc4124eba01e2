"""The report: its sections in words, tables and figures, as one HTML page and as Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import numpy as np

from study import claims, figures, tables
from study.experiments import AUGMENTED, IN_ORDER, PAPER, STRENGTHS
from study.results import Result
from study.tables import Table
from trainer.figures import confusion_matrix

Runs = Mapping[str, Sequence[Result]]

TITLE = "Two small CNNs on Fashion-MNIST: a paper's experiments, run again"
OVERLAID = ("basic-sgd-0.1", "basic-sgd-0.01", "deep-sgd-0.1", "deep-sgd-0.01")
RATES = ("basic-sgd-0.5", "basic-sgd-0.1", "basic-sgd-0.01")


@dataclass(frozen=True)
class Section:
    """A heading and what is below it, in this order; figures are files with their captions."""

    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table | None] = ()
    figures: Sequence[tuple[Path, str]] = field(default=())


def sections(runs: Runs, folder: Path) -> list[Section]:
    """The whole report; what was not run is left out. Draws the figures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        _accuracies(runs),
        Section("The paper's claims", (), [tables.claims(claims.judge(runs))]),
        _curves(runs, folder),
        _shirt(runs),
        _robustness(runs, folder),
        _digits(runs),
        _measured(runs),
    ]
    return [each for each in found if any(table and table.rows for table in each.tables) or each.figures or each.words]


def page(found: Sequence[Section]) -> str:
    """One HTML page with everything in it."""
    template = Template((Path(__file__).parent / "page.html").read_text("utf-8"))
    body = [f"<h1>{html.escape(TITLE)}</h1>"]
    for section in found:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [f"<p>{html.escape(text)}</p>" for text in section.words]
        body += [_table_as_html(table) for table in section.tables if table and table.rows]
        if section.figures:
            shown = "\n".join(_figure_as_html(path, caption) for path, caption in section.figures)
            body.append(f'<div class="figures">\n{shown}\n</div>')
    return template.substitute(title=html.escape(TITLE), body="\n".join(body))


def markdown(found: Sequence[Section]) -> str:
    """The same without figures."""
    lines = [f"# {TITLE}", "Written by `make study`; its report in HTML has the figures too."]
    for section in found:
        lines += [f"## {section.title}", *section.words]
        lines += [_table_as_markdown(table) for table in section.tables if table and table.rows]
    return "\n\n".join(lines) + "\n"


def _accuracies(runs: Runs) -> Section:
    words = [
        "Each experiment trains one model on 48,000 images for 25 epochs in batches of 64; 12,000 images choose the "
        "epoch whose weights are kept, and 10,000 others test them once. The paper has one run an experiment.",
        "With several seeds the interval is Student's, of the mean over seeds; with one it is Wilson's, of a finite "
        'test set. "Not shuffled" keeps the order of the training images, as the paper\'s scripts do.',
        *tables.distances(runs),
    ]
    return Section("Published and measured", words, [tables.accuracies(runs), tables.readings(runs)])


def _curves(runs: Runs, folder: Path) -> Section:
    drawn: list[tuple[Path, str]] = []
    if all(name in runs for name in OVERLAID):
        path = folder / "validation-overlaid.svg"
        figures.validation(runs, OVERLAID, "accuracy", "Validation accuracy, SGD", path)
        drawn.append((path, "Figure 2.6: the four validation curves. One colour a model; solid 0.1, dashed 0.01."))
    if all(name in runs for name in RATES):
        for metric in ("accuracy", "loss"):
            path = folder / f"rates-{metric}.svg"
            figures.validation(runs, RATES, metric, f"basic by learning rate: {metric}", path)
            drawn.append((path, f"Figures 2.7 and 2.8: basic at 0.5 beside 0.1 and 0.01, validation {metric}."))
    for experiment in PAPER:
        if experiment.id in runs:
            drawn += _curves_of(runs, experiment.id, folder)
    if "basic-sgd-0.01" in runs:
        drawn.append(_confusion(runs["basic-sgd-0.01"], folder / "confusion.svg"))
    words = ["Lines are means over seeds, bands reach from the lowest seed to the highest; crosses are the paper's."]
    return Section("The paper's figures", words if drawn else (), (), drawn)


def _curves_of(runs: Runs, name: str, folder: Path) -> Iterator[tuple[Path, str]]:
    number = {"basic-sgd-0.01": "2.2", "deep-sgd-0.01": "2.5", "basic-sgd-0.5": "2.8", "basic-adam": "2.9"}.get(name)
    for each in (name, name + IN_ORDER):
        if each in runs:
            for metric in ("loss", "accuracy"):
                path = folder / f"{each}-{metric}.svg"
                figures.curves(runs[each], metric, path)
                as_there = f"Figure {number}: " if number else ""
                yield path, f"{as_there}{each}, {metric} by epoch."


def _confusion(runs: Sequence[Result], path: Path) -> tuple[Path, str]:
    mean = np.rint(np.mean([run.confusion for run in runs], axis=0)).astype(int)
    confusion_matrix(mean, runs[0].classes, f"{runs[0].id}, mean over {len(runs)} seeds", path)
    return path, "Figure 2.3: confusion matrix on the test images, basic-sgd-0.01."


def _shirt(runs: Runs) -> Section:
    table = tables.shirt(runs)
    words = [
        "The paper wishes for a preprocessing by what tells a shirt from a T-shirt. Three tries, each basic-adam with "
        "one thing changed, against basic-adam with the same seed. Details: a second channel with what a blurred image "
        "lacks (collars, buttons, seams). Twice: the pair's training images twice, a weight of two in the loss. "
        "Specialist: a second network that knows only the pair, asked where the first names one of the two.",
        "Net counts images of the pair gained minus lost; p is the exact McNemar test's chance of so many gains if "
        "nothing had changed, corrected for three tries.",
    ]
    return Section("Outlook 1: Shirt against T-shirt/top", words if table else (), [table])


def _robustness(runs: Runs, folder: Path) -> Section:
    table = tables.robustness(runs)
    words = [
        'The paper wishes for models that bear turned and mirrored images. "Augmented" trains on images mirrored, '
        "turned by up to 45 degrees, shifted by up to 4 pixels and, every other one, noisy (deviation 16); otherwise "
        "as the experiment beside it. Rotation and shift go to either side."
    ]
    if table is None:
        return Section("Outlook 2: turned, mirrored, moved and noisy images")
    drawn = []
    for corruption in STRENGTHS:
        if corruption in figures.UNITS:
            path = folder / f"robustness-{corruption}.svg"
            figures.robustness({name: runs[name] for name in ("basic-adam", AUGMENTED.id)}, corruption, path)
            drawn.append((path, f"Test accuracy by {corruption}; hollow: trained on plain images, filled: augmented."))
    return Section("Outlook 2: turned, mirrored, moved and noisy images", words, [table], drawn)


def _digits(runs: Runs) -> Section:
    table = tables.digits(runs)
    words = [
        "Both CNNs with Adam at 0.0003 on the 1,797 handwritten digits of scikit-learn, brought from 8x8 to 28x28 "
        "pixels, as a folder of pictures; a fifth of each class tests, a fifth of the rest chooses the epoch."
    ]
    return Section("Outlook 3: a second data set", words if table else (), [table])


def _measured(runs: Runs) -> Section:
    """Where every figure comes from."""
    every = [run for results in runs.values() for run in results]
    words = [
        f"{key.capitalize()}: {'; '.join(sorted({run.environment[key] for run in every}))}."
        for key in ("machine", "versions", "commit")
    ]
    seconds = [run.seconds for run in every if run.seconds is not None]
    seeds = max(len(results) for results in runs.values())
    once = [name for name, results in runs.items() if len(results) < seeds]
    words.append(
        f"{len(every)} runs, seeds 0 to {seeds - 1}"
        + (f" (seed 0 alone: {', '.join(once)})" if once else "")
        + f"; {sum(seconds):,.0f} s of training in all, one run a core side by side."
    )
    rows = [
        [
            name,
            str(len(results)),
            f"{np.mean(taken):.0f}" if (taken := [r.seconds for r in results if r.seconds]) else "",
        ]
        for name, results in runs.items()
    ]
    return Section("How it was measured", words, [Table("Runs", ["experiment", "runs", "seconds a run"], rows)])


def _table_as_html(table: Table) -> str:
    rows = "\n".join(
        "<tr>" + "".join(f"<td{_words(cell)}>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    caption = html.escape(table.caption)
    return f'<div class="wide"><table><caption>{caption}</caption>\n<tr>{header}</tr>\n{rows}\n</table></div>'


def _words(cell: str) -> str:
    return ' class="words"' if len(cell) > 30 else ""


def _figure_as_html(path: Path, caption: str) -> str:
    picture = base64.b64encode(path.read_bytes()).decode()
    large = ' class="large"' if path.stem == "confusion" else ""
    text = html.escape(caption)
    return (
        f'<figure{large}><img alt="{text}" src="data:image/svg+xml;base64,{picture}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _table_as_markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return f"{table.caption}:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
