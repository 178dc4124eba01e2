"""Figures of one run, as PNG files: curves, confusion matrix, reliability, robustness, a sheet of test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trainer.data.dataset import Split
from trainer.evaluation.calibration import BINS, Calibration
from trainer.evaluation.robustness import Robustness

# The Okabe-Ito palette, told apart by colour-blind eyes and in print.
BLUE, SKY_BLUE, GREEN, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
TRAINING, VALIDATION = BLUE, VERMILION
DPI = 120
SHEET_ROWS, SHEET_COLUMNS = 5, 8
# Of more classes, a confusion matrix grows no further: its memory grows with the square of its side. Its cells have
# no numbers then, and of more than MOST_NAMED classes not all are named.
MOST_NUMBERED = 30
MOST_NAMED = 100
STRENGTHS = {
    "mirror": "left to right",
    "rotation": "degrees",
    "shift": "share of the side",
    "noise": "standard deviation, grey levels",
    "blur": "standard deviation, pixels",
    "contrast": "share left",
}


def curves(history: dict[str, list[float]], best_epoch: int, title: str, path: Path) -> None:
    """Loss and accuracy by epoch, the kept epoch marked."""
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    epochs = range(1, len(history["loss"]) + 1)
    for axes, key, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        axes.plot(epochs, history[key], color=TRAINING, marker=".", label="training")
        axes.plot(epochs, history[f"val_{key}"], color=VALIDATION, marker=".", linestyle="--", label="validation")
        axes.axvline(best_epoch + 1, color="0.6", linewidth=1, label=f"kept: epoch {best_epoch + 1}")
        axes.set(xlabel="Epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    _legend(figure)
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI)


def _legend(figure: Figure) -> None:
    """The first panel's legend, which is that of all, below the panels, where no curve or bar runs through it."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Counts of true against predicted class; the shade is the share of the true class."""
    count = len(classes)
    side = max(5.0, 0.72 * min(count, MOST_NUMBERED))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(confusion.shape) if count <= MOST_NUMBERED else ():
        ink = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=ink, fontsize=9)
    step = -(-count // MOST_NAMED)
    axes.set_xticks(range(0, count, step), classes[::step], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(0, count, step), classes[::step])
    axes.set(xlabel="Predicted class", ylabel="True class", title=title)
    figure.colorbar(image, ax=axes, label="Share of the true class", fraction=0.045)
    figure.savefig(path, dpi=DPI, bbox_inches="tight")  # constrained layout cuts the label of square axes


def reliability(before: Calibration, after: Calibration, title: str, path: Path) -> None:
    """Accuracy against confidence, before and after temperature scaling, over how many images are how confident."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 1])
    names = ("Before temperature scaling", "As served")
    for column, name, measured in zip(axes.T, names, (before, after), strict=True):
        points, counts = column
        filled = [(c, a) for c, a in zip(measured.confidence, measured.accuracy, strict=True) if c is not None]
        points.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
        points.plot(*zip(*filled, strict=True), color=TRAINING, marker="o", label="measured")
        points.set(xlim=(0, 1), ylim=(0, 1), title=f"{name}: ECE {measured.ece:.4f}, NLL {measured.nll:.4f}")
        points.grid(alpha=0.3)
        counts.bar([(i + 0.5) / BINS for i in range(BINS)], measured.counts, width=0.9 / BINS, color=VALIDATION)
        counts.set(xlabel="Confidence")
        counts.grid(alpha=0.3)
    axes[0, 0].set(ylabel="Accuracy")
    axes[1, 0].set(ylabel="Images")
    _legend(figure)
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI)


def robustness(measured: Robustness, clean: float, title: str, path: Path) -> None:
    """Accuracy by strength, a panel a corruption; the dashed line is the accuracy on clean images."""
    accuracies = measured.to_json()
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    panels = figure.subplots(2, -(-len(accuracies) // 2), sharey=True)
    for (name, found), axes in zip(accuracies.items(), panels.flat, strict=False):
        bars = axes.bar(list(found), list(found.values()), width=0.6, color=TRAINING)
        axes.bar_label(bars, fmt="%.3f", label_type="center", color="white", fontsize=9)
        axes.axhline(clean, color=VALIDATION, linestyle="--", linewidth=1, label=f"not corrupted: {clean:.3f}")
        middle = (len(found) - 1) / 2
        axes.set(title=name.capitalize(), xlim=(middle - 1.6, middle + 1.6), ylim=(0, 1), xlabel=STRENGTHS[name])
        axes.grid(alpha=0.3, axis="y")
    for axes in panels[:, 0]:
        axes.set(ylabel="Accuracy")
    _legend(figure)
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI)


def sheet(split: Split, predicted: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """The split's first images with their predicted class; wrong ones are framed and name the true class."""
    figure = Figure(figsize=(1.5 * SHEET_COLUMNS, 1.75 * SHEET_ROWS), layout="constrained")
    axes = figure.subplots()  # one for all images: an axes for each would take several times as long
    axes.set(xlim=(-0.05, SHEET_COLUMNS), ylim=(SHEET_ROWS, 0), aspect=1.75 / 1.5)
    axes.axis("off")
    for index in range(min(len(split), SHEET_ROWS * SHEET_COLUMNS)):
        top, left = index // SHEET_COLUMNS + 0.25, index % SHEET_COLUMNS
        edges = (left, left + 0.9, top + 0.72, top)
        axes.imshow(split.images[index].squeeze(), cmap="gray_r", vmin=0, vmax=255, extent=edges, aspect="auto")
        guess, truth = int(predicted[index]), int(split.labels[index])
        if guess == truth:
            text, ink, weight, line = classes[guess], "black", "normal", 0.8
        else:
            text, ink, weight, line = f"✗ {classes[guess]}\nis {classes[truth]}", VALIDATION, "bold", 3
        axes.text(left + 0.45, top - 0.02, text, ha="center", va="bottom", fontsize=9, color=ink, fontweight=weight)
        axes.add_patch(Rectangle((left, top), 0.9, 0.72, fill=False, edgecolor=ink, linewidth=line))
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI)
