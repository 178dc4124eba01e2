"""How a search is run: nothing here decides what its trials find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.names import RULE, is_name
from trainer.config import RunOptions

SUPERVISED = "TUNING_SUPERVISED"  # in the environment of the workers that a search started itself


@dataclass(frozen=True)
class Options:
    """What a search is told beside what to search; validates its fields when constructed.

    Attributes:
        artifacts: where the data, the runs and the models lie.
        name: of the search, and of its directory.
        model_name: of the model that is pushed.
        workers: processes on this machine.
        finalists: how many of the best trials are trained in full.
        final_seeds: from how many seeds each.
        time_limit: minutes after which the search ends; None: none.
        fresh: begin anew.
        tensorboard: write its logs too.
        allow_anomalies: go on with data that is not what it should be.
        overrides: thresholds of the gate by name, instead of the data set's own.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.
    """

    artifacts: Path
    name: str
    model_name: str
    workers: int = 1
    finalists: int = 2
    final_seeds: int = 2
    time_limit: float | None = None
    fresh: bool = False
    tensorboard: bool = False
    allow_anomalies: bool = False
    overrides: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None

    def __post_init__(self) -> None:
        if not is_name(self.name):  # of one directory, so that --fresh clears no other
            raise ValueError(f"`name` {RULE}. Received: {self.name}.")
        for name, lowest in (("workers", 1), ("finalists", 1), ("final_seeds", 1)):
            if getattr(self, name) < lowest:
                raise ValueError(f"`{name}` must be at least {lowest}. Received: {getattr(self, name)}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"`time_limit` must be above 0 minutes. Received: {self.time_limit}.")

    @property
    def for_runs(self) -> RunOptions:
        """How its finalists are run."""
        names = ("artifacts", "overrides", "reason", "tensorboard", "allow_anomalies")
        return RunOptions(name=self.model_name, **{name: getattr(self, name) for name in names})

    @property
    def directory(self) -> Path:
        """The search's own, under the artifacts."""
        return self.artifacts / "tuning" / self.name
