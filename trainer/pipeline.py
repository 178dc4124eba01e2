"""The whole way: load the data, train, evaluate, choose, export, judge, push."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from registry.store import ModelStore
from trainer.cards import card_of
from trainer.config import TrainConfig
from trainer.data import load
from trainer.gate import Verdict
from trainer.judge import judge
from trainer.push import candidate, push
from trainer.runs import Run, directory_for, train_and_evaluate, write_json
from trainer.thresholds import thresholds_for


class RefusedError(RuntimeError):
    """The gate refused the best model, and nobody forced it; nothing was pushed.

    Attributes:
        runs: the finished runs.
        best: the one that was judged.
        verdict: why.
    """

    def __init__(self, runs: Sequence[Run], best: Run, verdict: Verdict) -> None:
        super().__init__(" ".join(verdict.reasons))
        self.runs, self.best, self.verdict = runs, best, verdict


def run(
    configs: Sequence[TrainConfig],
    artifacts: Path,
    *,
    overrides: Mapping[str, float] | None = None,
    reason: str | None = None,
    resume: Path | None = None,
    fresh: bool = False,
    tensorboard: bool = False,
) -> tuple[list[Run], int, ModelStore]:
    """Trains every config, judges the one with the best validation accuracy, and pushes it if it may be served.

    Args:
        configs: at least one, all of the same data set.
        artifacts: the directory of data, runs and models.
        overrides: thresholds of the gate by name, instead of the data set's own.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.
        resume: the directory of the interrupted run to go on with; left out, one of the same config is looked for.
        fresh: look for none.
        tensorboard: write logs for TensorBoard into the run directories.

    Returns:
        The finished runs, the version pushed, and the store it is in.

    Raises:
        RefusedError: the gate refused the model. The verdict is in its run directory.
        RegistryError: it could not be published; the versions there before are untouched.
    """
    dataset = load(configs[0].dataset, artifacts / "data")
    thresholds = thresholds_for(dataset.name, overrides)
    runs = [
        train_and_evaluate(
            config, dataset, resume or directory_for(config, artifacts / "runs", fresh), tensorboard=tensorboard
        )
        for config in configs
    ]
    best = max(runs, key=lambda run: run.result.validation_accuracy)
    store = ModelStore(artifacts / "models", dataset.name)
    card = card_of(best, dataset, store.name)
    with candidate(best.result.model, best.evaluation.temperature, card, best.directory) as judged:
        verdict = judge(card, judged.root, best.evaluation, best.robustness, dataset, store, thresholds)
        if reason and not verdict.accepted:
            verdict = replace(verdict, forced=reason, forced_by=_user())
        write_json(best.directory / "verdict.json", verdict.to_json())
        if not verdict.accepted and not verdict.forced:
            raise RefusedError(runs, best, verdict)
        return runs, push(judged, card, verdict, best.directory / "figures", store), store


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"
