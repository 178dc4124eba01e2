"""What the command line says when a training is over."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.store import ModelStore, models
from registry.text import table
from trainer.config import TrainConfig
from trainer.pipeline import RefusedError
from trainer.release.finished import Run

HEADER = ["model", "parameters", "seconds", "validation", "test (95 % interval)", "NLL", "ECE", "corrupted", "ms"]
CLASSES = 10  # of many classes, the worst are shown; evaluation.json has them all
REFUSAL = (
    "The gate refused the model; nothing was pushed. "
    "`python -m trainer push RUN --force --reason TEXT` pushes it without training again."
)


def summary(runs: Sequence[Run], version: int, store: ModelStore) -> str:
    """A short table of the runs, the version that was pushed, how it was judged, and how to serve it."""
    pushed = store.card(version)
    verdict = pushed.verdict or {}
    (best,) = (run for run in runs if run.directory.name == pushed.run)
    outcome = "accepted by the gate" if verdict["accepted"] else f"refused, yet forced: {verdict['forced']}"
    lines = [
        *_runs(runs),
        *_judged(best, verdict["checks"]),
        f"Pushed {pushed.config['model']} as version {version} of {store.name}: {store.path(version)} ({outcome})",
        f"Figures and numbers: {', '.join(str(run.directory) for run in runs)}",
        to_serve(store, version),
    ]
    return "\n" + "\n".join(lines)


def to_serve(store: ModelStore, version: int) -> str:
    """How the `version` that was just pushed is served, or why it is not."""
    if (served := store.served()) != version:
        return f"Version {served} is pinned, and is served until `python -m registry unpin`."
    return f"Serve it:  {_command(store)}"


def _command(store: ModelStore) -> str:
    """What serves the model from where it is, settings named where they are not the usual ones."""
    artifacts, others = store.root.parent, [name for name in models(store.root) if name != store.name]
    settings = [f"ARTIFACTS={shlex.quote(str(artifacts))}"] if artifacts != Path("artifacts") else []
    return " ".join([*settings, *([f"MODEL_NAME={shlex.quote(store.name)}"] if others else []), "make serve"])


def refusal(refused: RefusedError) -> str:
    """The same for a model that was not pushed: the runs, and every check's finding."""
    checks = refused.verdict.to_json()["checks"]
    runs, name = refused.best.directory.parent, refused.best.directory.name
    artifacts = f" --artifacts {shlex.quote(str(runs.parent))}" if runs.parent != Path("artifacts") else ""
    where = (
        f"The verdict is in {refused.best.directory / 'verdict.json'}\n"
        f"To push it nevertheless:  python -m trainer push {name}{artifacts} --force --reason TEXT"
    )
    return "\n" + "\n".join(
        [*_runs(refused.runs), *_judged(refused.best, checks), *_suspect(refused.best.config), where]
    )


def _suspect(config: TrainConfig) -> list[str]:
    """What may be to blame for a model that learned badly: augmentation, where there was any."""
    off = {"mirror": "--no-mirror", "shift": "--shift 0", "rotate": "--rotate 0", "erase": "--erase 0"}
    options = [option for name, option in off.items() if getattr(config, name)]
    said = (
        "Augmentation may be the cause: classes that differ only by what it changes, as left and right in mirrored "
        f"images, cannot be learned. Without it: {' '.join(options)}"
    )
    return [said] if options else []


def _runs(runs: Sequence[Run]) -> list[str]:
    """A row a run; NLL, ECE and accuracy on corrupted images are of the test set, the time is one image's."""
    return [table([HEADER, *(_row(run) for run in runs)]), ""]


def _judged(best: Run, checks: Sequence[dict[str, Any]]) -> list[str]:
    findings = table([["passed" if each["passed"] else "FAILED", each["name"], each["sentence"]] for each in checks])
    return [_by_class(best), "", findings, ""]


def _by_class(run: Run) -> str:
    rows = sorted(run.per_class.items(), key=lambda item: item[1]["recall"])[:CLASSES]
    header = [f"{run.config.model}, by recall", "precision", "recall", "F1"]
    return table([header, *([name, *(f"{of[key]:.4f}" for key in ("precision", "recall", "f1"))] for name, of in rows)])


def _row(run: Run) -> list[str]:
    low, high = run.evaluation.interval
    return [
        run.config.model,
        f"{run.result.model.count_params():,}",
        f"{run.result.seconds:.0f}",
        f"{run.result.validation_accuracy:.4f}",
        f"{run.evaluation.accuracy:.4f} ({low:.4f} to {high:.4f})",
        f"{run.evaluation.calibrated.nll:.4f}",
        f"{run.evaluation.calibrated.ece:.4f}",
        f"{run.robustness.mean:.4f}",
        f"{run.latency.single:.2f}",
    ]
