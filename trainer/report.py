"""What the command line says when a training is over."""

from __future__ import annotations

from collections.abc import Sequence

from registry.store import ModelStore
from trainer.pipeline import Run

HEADER = ("model", "parameters", "seconds", "validation", "test (95 % interval)")


def summary(runs: Sequence[Run], version: int, store: ModelStore) -> str:
    """A short table of the runs, the version that was pushed and how to serve it."""
    rows = [HEADER, *(_row(run) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    pushed = store.card(version)
    lines += [
        "",
        f"Pushed {pushed.config['model']} as version {version} of {store.name}: {store.path(version)}",
        f"Curves, confusion matrix and test images: {', '.join(str(run.directory / 'figures') for run in runs)}",
        "Serve it:  make serve",
    ]
    return "\n" + "\n".join(lines)


def _row(run: Run) -> tuple[str, ...]:
    low, high = run.evaluation.interval
    return (
        run.config.model,
        f"{run.result.model.count_params():,}",
        f"{run.result.seconds:.0f}",
        f"{run.result.validation_accuracy:.4f}",
        f"{run.evaluation.accuracy:.4f} ({low:.4f} to {high:.4f})",
    )
