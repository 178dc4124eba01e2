"""Figures of a search, as PNG in memory: what was found when, at which learning rate, with which settings."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from trainer.config import MODELS, OPTIMIZERS, TrainConfig
from trainer.evaluation.figures import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILION
from tuning.importance import Importance, numbers
from tuning.trials import Record

DPI = 110
COLOURS = dict(zip(OPTIMIZERS, (BLUE, SKY_BLUE, GREEN, ORANGE, VERMILION), strict=True))
MARKERS = dict(zip(MODELS, ("o", "^", "s"), strict=True))
Trials = Sequence[tuple[Record, TrainConfig]]


def best_over_time(trials: Trials) -> str:
    """Each trial's score when it ended, and the best so far."""
    start = min(record.begun for record, _ in trials)
    minutes = [(record.ended - start) / 60 for record, _ in trials]
    scores = [_score(record) for record, _ in trials]

    def draw(axes: Axes) -> None:
        best = np.fmax.accumulate(scores)
        axes.step([*minutes, minutes[-1]], [*best, best[-1]], where="post", color=VERMILION, label="best so far")
        stopped = np.array([record.stopped for record, _ in trials])
        for chosen, fill, label in ((~stopped, BLUE, "trial"), (stopped, "white", "stopped early")):
            points = np.compress(chosen, minutes), np.compress(chosen, scores)
            axes.plot(*points, "o", color=BLUE, markerfacecolor=fill, label=label)
        axes.set(xlabel="Minutes since the search began", ylabel="Validation accuracy")
        _focus(axes, scores)

    return _png(draw)


def learning_rates(trials: Trials) -> str:
    """Learning rate against accuracy, coloured by optimizer and marked by model; hollow where stopped early."""

    def draw(axes: Axes) -> None:
        for optimizer, model in itertools.product(OPTIMIZERS, dict.fromkeys(config.model for _, config in trials)):
            own = [(r, c) for r, c in trials if (c.optimizer, c.model) == (optimizer, model)]
            if own:
                rates = [config.learning_rate for _, config in own]
                scores = [_score(record) for record, _ in own]
                colour, marker = COLOURS[optimizer], MARKERS.get(model, "D")
                fills = ["none" if record.stopped else colour for record, _ in own]
                axes.scatter(rates, scores, s=45, c=fills, edgecolors=colour, marker=marker)
                axes.plot([], [], marker, color=colour, label=f"{optimizer}, {model}")
        axes.set(xscale="log", xlabel="Learning rate", ylabel="Validation accuracy")
        _focus(axes, [_score(record) for record, _ in trials])

    return _png(draw)


def parallel_coordinates(trials: Trials, names: Sequence[str]) -> str:
    """A line for each trial through its settings to its score; better trials are darker and in front."""
    scored = sorted(trials, key=lambda each: _score(each[0]))
    scores = np.array([record.score for record, _ in scored], float)
    # The axis ends where the good trials do, because a few hopeless ones would squeeze all others together.
    low = max(_lowest(scores), float(scores.min()))
    shade = Normalize(low, float(scores.max()))
    columns = [numbers(name, [config for _, config in scored]) for name in names]
    heights = [_spread(column) for column in [*columns, np.maximum(scores, low)]]

    def draw(axes: Axes) -> None:
        for index, score in enumerate(scores):
            line = [height[index] for height in heights]
            axes.plot(range(len(heights)), line, color=colormaps["viridis_r"](shade(score)), alpha=0.75, linewidth=1.4)
        for place, name in enumerate(names):
            values = [getattr(config, name) for _, config in scored]
            below = -1.0
            for height, value in sorted(dict(zip(heights[place], values, strict=True)).items()):
                if height - below > 0.04:  # others would cover one another
                    _tick(axes, place, height, f"{value:.3g}" if isinstance(value, float) else str(value))
                    below = height
        _tick(axes, len(names), 0.0, f"{'≤ ' if scores.min() < low else ''}{low:.3f}")
        _tick(axes, len(names), 1.0, f"{scores.max():.3f}")
        for place in range(len(heights)):
            axes.axvline(place, color="0.3", linewidth=0.8)
        labels = [*(name.replace("_", " ") for name in names), "accuracy"]
        axes.set_xticks(range(len(heights)), labels, rotation=30 if len(labels) > 6 else 0, rotation_mode="anchor")
        axes.set(yticks=[], xlim=(-0.15, len(names) + 0.45), ylim=(-0.05, 1.05))
        axes.spines[:].set_visible(False)

    return _png(draw, grid=False)


def importances(found: Importance) -> str:
    """A bar for each setting, the most important on top; whiskers are a standard deviation of the shuffles."""

    def draw(axes: Axes) -> None:
        order = np.argsort(found.means)
        labels = [found.names[each].replace("_", " ") for each in order]
        axes.barh(labels, found.means[order], xerr=found.deviations[order], color=BLUE, ecolor="0.4")
        axes.set(xlabel="Loss of R² when the setting is shuffled")

    return _png(draw, height=1.2 + 0.4 * len(found.names))


def _lowest(scores: Sequence[float] | np.ndarray) -> float:
    """Twice as far below the median as the best is above it; trials with lower scores are hopeless."""
    return float(3 * np.nanmedian(scores) - 2 * np.nanmax(scores) - 0.01)


def _score(record: Record) -> float:
    return np.nan if record.score is None else record.score


def _focus(axes: Axes, scores: Sequence[float]) -> None:
    """Limits the axis to the good trials, and says how many are below it."""
    low, high = _lowest(scores), float(np.nanmax(scores))
    if np.nanmin(scores) < low:
        axes.set_ylim(low, high + 0.1 * (high - low))
        axes.set_title(f"▼ {sum(score < low for score in scores)} below", loc="left", fontsize=10, color="0.3")


def _spread(values: np.ndarray) -> np.ndarray:
    """Values as heights from 0 to 1."""
    width = values.max() - values.min()
    return (values - values.min()) / width if width else np.full(len(values), 0.5)


def _tick(axes: Axes, place: float, height: float, text: str) -> None:
    box = {"fc": "white", "ec": "none", "alpha": 0.7, "pad": 1}
    axes.text(place + 0.03, height, text, fontsize=8, va="center", bbox=box)


def _png(draw: Callable[[Axes], None], *, grid: bool = True, height: float = 4.2) -> str:
    """A figure as a `data:` address, so that the page needs no other file."""
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    if grid:
        axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the plot, where it covers no point
    written = io.BytesIO()
    figure.savefig(written, dpi=DPI)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()
