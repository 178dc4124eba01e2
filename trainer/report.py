"""The text on the terminal when a training is over."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.card import ModelCard
from registry.models import MOST_SERVED, models
from registry.store import ModelStore
from registry.text import table
from trainer import advice
from trainer.pipeline import RefusedError
from trainer.release.finished import Run

HEADER = ["model", "parameters", "seconds", "validation", "test (95 % interval)", "NLL", "ECE", "corrupted"]
CLASSES = 10  # of many classes, the worst are shown; evaluation.json has them all
REFUSAL = "The gate refused the model; nothing was pushed."


def summary(runs: Sequence[Run], version: int, store: ModelStore) -> str:
    """The runs, the version that was pushed, how it was judged, and how to serve it."""
    pushed = store.card(version)
    verdict = pushed.verdict or {}
    best = next((run for run in runs if run.directory.name == pushed.run), runs[0])  # renamed since: there is one
    outcome = "accepted by the gate" if verdict["accepted"] else f"refused, but forced: {verdict['forced']}"
    return _lines(
        *_findings(runs, best, verdict["checks"]),
        f"Pushed {pushed.config['model']} as version {version} of {store.name}: {store.path(version)} ({outcome})",
        f"Figures and numbers: {', '.join(str(run.directory) for run in runs)}",
        to_serve(store, version),
    )


def refusal(refused: RefusedError) -> str:
    """The runs, why the best was not pushed, what to try, and how to push it nevertheless."""
    directory = refused.best.directory
    artifacts = directory.parent.parent
    card = ModelCard.read(refused.best.export)
    options = f" --artifacts {shlex.quote(str(artifacts))}" if artifacts != Path("artifacts") else ""
    options += " --allow-anomalies" if card.data["anomalies"] else ""
    return _lines(
        *_findings(refused.runs, refused.best, refused.verdict.to_json()["checks"]),
        *advice.after(refused.best, card, refused.verdict),
        f"The verdict is in {directory / 'verdict.json'}",
        "To push it without training again:  "
        f"make train ARGS=\"push {directory.name}{options} --force --reason 'TEXT'\"",
    )


def to_serve(store: ModelStore, version: int) -> str:
    """How the `version` that was just pushed is served, or why it is not."""
    if (served := store.served()) != version:
        return f"Version {served} is pinned, and is served until `.venv/bin/python -m registry unpin`."
    artifacts = store.root.parent
    where = f"ARTIFACTS={shlex.quote(str(artifacts))} " if artifacts != Path("artifacts") else ""
    others = len(models(store.root)) > MOST_SERVED  # with which the service does not start
    return f"Serve it:  {where}{f'MODEL_NAME={store.name} ' if others else ''}make serve"


def _lines(*lines: str) -> str:
    return "\n" + "\n".join(lines)


def _findings(runs: Sequence[Run], best: Run, checks: Sequence[dict[str, Any]]) -> list[str]:
    """Tables: a row a run, a row a class of the best, a row a check of the gate."""
    verdicts = [["passed" if each["passed"] else "FAILED", each["name"], each["sentence"]] for each in checks]
    size = best.metrics["latency_ms"]["batch_size"]
    header = [*HEADER, f"TF ms, 1 / {size}", "LiteRT ms"]
    return [table([header, *map(_row, runs)]), "", _by_class(best), "", table(verdicts), ""]


def _row(run: Run) -> list[str]:
    """NLL, ECE and accuracy on corrupted images are of the test images; the times are of one image and of a batch."""
    metrics, calibrated = run.metrics, run.metrics["calibration"]["calibrated"]
    low, high = metrics["test_interval"]
    return [
        run.config.model,
        f"{metrics['parameters']:,}",
        f"{metrics['seconds']:.0f}",
        f"{metrics['validation_accuracy']:.4f}",
        f"{metrics['test_accuracy']:.4f} ({low:.4f} to {high:.4f})",
        f"{calibrated['nll']:.4f}",
        f"{calibrated['ece']:.4f}",
        f"{metrics['robust_accuracy']:.4f}",
        _times(metrics["latency_ms"]),
        _times(metrics.get("litert_latency_ms")),
    ]


def _times(latency: dict[str, Any] | None) -> str:
    """A dash where there is no flatbuffer, or none was timed, as in runs of earlier versions of this project."""
    return f"{latency['single']:.2f} / {latency['batch']:.2f}" if latency else "-"


def _by_class(run: Run) -> str:
    rows = sorted(run.metrics["per_class"].items(), key=lambda item: item[1]["recall"])[:CLASSES]
    header = [f"{run.config.model}, by recall", "precision", "recall", "F1"]
    return table([header, *([name, *(f"{of[key]:.4f}" for key in ("precision", "recall", "f1"))] for name, of in rows)])
