"""The paper's figures, drawn anew with bands over seeds: one panel a file, so that a phone shows it as large as paper.

One colour a model throughout; the line tells the learning rate: solid 0.1, dashed 0.01, dotted 0.5, dash-dotted Adam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.experiments import AUGMENTED, STRENGTHS
from study.paper import PUBLISHED
from study.results import Result

Runs = Mapping[str, Sequence[Result]]

# Okabe-Ito colours, told apart by colour-blind eyes.
COLOURS = {"basic": "#0072B2", "deep": "#D55E00"}
TRAINING = "0.45"
LINES = {0.1: "-", 0.01: "--", 0.5: ":"}
ADAM = "-."
SIZE = (4.8, 3.6)
UNITS = {"rotation": "degrees", "shift": "share of the side", "noise": "deviation, grey levels"}
METRICS = {"loss": "loss", "accuracy": "accuracy"}


def curves(runs: Sequence[Result], metric: str, path: Path) -> None:
    """Loss or accuracy of one experiment by epoch, in training and in validation (figures 2.2, 2.5, 2.8, 2.9)."""
    figure, axes = _panel()
    _band(axes, runs, metric, TRAINING, "-", "training")
    _band(axes, runs, f"val_{metric}", *_look(runs[0]), "validation")
    _readings(axes, runs[0].id, f"val_{metric}")
    axes.set(title=f"{runs[0].id}: {metric}", ylabel=metric.capitalize())
    _save(figure, axes, path)


def validation(runs: Runs, ids: Sequence[str], metric: str, title: str, path: Path) -> None:
    """The validation curves of several experiments over one another (figures 2.6 and 2.7)."""
    figure, axes = _panel()
    for name in ids:
        _band(axes, runs[name], f"val_{metric}", *_look(runs[name][0]), name)
    axes.set(title=title, ylabel=f"Validation {metric}")
    _save(figure, axes, path)


def robustness(runs: Runs, corruption: str, path: Path) -> None:
    """Test accuracy by strength of a corruption, of models trained on plain images and on such images."""
    figure, axes = _panel()
    strengths = [0.0, *STRENGTHS[corruption]]
    for name, results in runs.items():
        measured = [
            [run.test_accuracy, *(run.robustness[corruption][f"{each:g}"] for each in strengths[1:])] for run in results
        ]
        trained = name == AUGMENTED.id
        colour = COLOURS[results[0].config["model"]]
        means = np.mean(measured, axis=0)
        axes.plot(strengths, means, color=colour, marker="s" if trained else "o", linestyle=_look(results[0])[1])
        axes.lines[-1].set(label=name, markerfacecolor=colour if trained else "white")
    axes.set(title=f"Test images with {corruption}", xlabel=UNITS[corruption].capitalize(), ylabel="Test accuracy")
    _save(figure, axes, path, epochs=False)


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()


def _look(run: Result) -> tuple[str, str]:
    """Colour and line of a run."""
    line = LINES.get(run.config["learning_rate"], "-") if run.config["optimizer"] == "sgd" else ADAM
    return COLOURS[run.config["model"]], line


def _band(axes: Axes, runs: Sequence[Result], key: str, colour: str, line: str, label: str) -> None:
    """The mean over seeds; the band reaches from the lowest to the highest seed."""
    values = np.array([run.history[key] for run in runs])
    epochs = range(values.shape[1])
    axes.plot(epochs, values.mean(axis=0), color=colour, linestyle=line, linewidth=1.8, label=label)
    if len(runs) > 1:
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)


def _readings(axes: Axes, name: str, key: str) -> None:
    """What was read off the paper's figure."""
    published = PUBLISHED.get(name)
    if published is None:
        return
    read = published.validation if key == "val_accuracy" else published.loss
    if read:
        axes.plot(list(read), list(read.values()), "kx", markersize=7, label="paper, validation")


def _save(figure: Figure, axes: Axes, path: Path, epochs: bool = True) -> None:
    if epochs:
        axes.set(xlabel="Epoch (from 0)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    with rc_context({"svg.hashsalt": path.name}):  # the same figure has the same bytes
        figure.savefig(path, metadata={"Date": None})
