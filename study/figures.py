"""The paper's figures with bands over seeds, one panel per file, so that they are readable on a phone.

The colour shows the model, the line the learning rate: solid 0.1, dashed 0.01, dotted 0.5, dash-dotted Adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.experiments import IN_ORDER
from study.intervals import Runs
from study.paper import PUBLISHED
from study.results import Result, by_epoch
from trainer.evaluation.figures import BLUE, GREEN, STRENGTHS, VERMILION

COLOURS = {"basic": BLUE, "deep": VERMILION, "residual": GREEN}
TRAINING = "0.45"
LINES = {0.1: "-", 0.01: "--", 0.5: ":"}
ADAM = "-."
# Marker and line of each experiment whose robustness is measured; its colour shows the model here too.
ROBUSTNESS = {
    "basic-adam": ("o", ADAM),
    "deep-default-scale": ("o", ":"),
    "deep-default": ("s", "-"),
    "deep-robust": ("D", "--"),
    "residual": ("^", "-"),
}
DRAWN = ("rotation", "shift", "noise", "blur", "contrast")  # mirroring has one strength only
NONE = {"contrast": 1.0}  # the strength of a corruption that changes nothing, where it is not 0


def curves(runs: Sequence[Result], metric: str, path: Path) -> None:
    """Loss or accuracy of one experiment by epoch, in training and in validation (figures 2.2, 2.5, 2.8, 2.9)."""
    figure, axes = _panel(f"{runs[0].id}: {metric}", metric.capitalize())
    _band(axes, runs, metric, (TRAINING, "-"), "training")
    _band(axes, runs, f"val_{metric}", _style(runs[0]), "validation")
    published = PUBLISHED[runs[0].id.removesuffix(IN_ORDER)]
    if read := published.validation if metric == "accuracy" else published.loss:
        axes.plot(list(read), list(read.values()), "kx", markersize=7, label="paper, validation")
    _save(figure, path)


def validation(runs: Runs, ids: Sequence[str], metric: str, path: Path) -> None:
    """The validation curves of several experiments in one panel (figures 2.6 and 2.7)."""
    figure, axes = _panel(f"Validation {metric}", metric.capitalize())
    for name in ids:
        _band(axes, runs[name], f"val_{metric}", _style(runs[name][0]), name)
    _save(figure, path)


def robustness(runs: Runs, corruption: str, path: Path) -> None:
    """Test accuracy by strength of a corruption; the mildest is none."""
    figure, axes = _panel(f"Test images with {corruption}", "Test accuracy")
    for name, (marker, line) in ((name, style) for name, style in ROBUSTNESS.items() if name in runs):
        results = runs[name]
        found = [[run.test_accuracy, *run.robustness[corruption].values()] for run in results]
        strengths = [NONE.get(corruption, 0.0), *map(float, results[0].robustness[corruption])]
        colour = COLOURS[results[0].config["model"]]
        axes.plot(strengths, np.mean(found, axis=0), label=name, color=colour, marker=marker, linestyle=line)
    axes.set(xlabel=STRENGTHS[corruption].capitalize())
    if corruption in NONE:
        axes.invert_xaxis()  # so that the corruption is stronger to the right
    _save(figure, path)


def _panel(title: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel="Epoch (from 0)", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    return figure, axes


def _style(run: Result) -> tuple[str, str]:
    """Colour and line of a run."""
    sgd = run.config["optimizer"] == "sgd"
    return COLOURS[run.config["model"]], LINES[run.config["learning_rate"]] if sgd else ADAM


def _band(axes: Axes, runs: Sequence[Result], key: str, style: tuple[str, str], label: str) -> None:
    """Draws the mean over seeds, and a band from the lowest to the highest seed."""
    values, (colour, line) = by_epoch(runs, key), style
    epochs = range(values.shape[1])
    axes.plot(epochs, np.nanmean(values, axis=0), color=colour, linestyle=line, linewidth=1.8, label=label)
    if len(runs) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)


def _save(figure: Figure, path: Path) -> None:
    # Below the panel, where no curve runs through it.
    figure.legend(fontsize=9, loc="outside lower center", ncols=2)
    with rc_context({"svg.hashsalt": path.name}):  # a figure drawn twice has the same bytes
        figure.savefig(path, metadata={"Date": None})
