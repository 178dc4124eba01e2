"""After the search: the best settings are trained anew in full, from several seeds, and go the way of any other run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.disk import write_json
from trainer.config import TrainConfig
from trainer.run import Run
from tuning.space import Search, SearchError
from tuning.trials import Record

KEPT = "finalists.json"


def finalists(search: Search, finished: list[Record], count: int) -> list[Record]:
    """The best trials whose settings differ, best first.

    Raises:
        SearchError: no trial was completed.
    """
    completed = sorted(
        (each for each in finished if each.score is not None),
        key=lambda each: (-(each.score or 0), each.number),
    )
    distinct: dict[TrainConfig, Record] = {}
    for record in completed:
        distinct.setdefault(replace(search.config(record.values, 0), seed=0), record)
    if not distinct:
        failed = finished[-1].message if finished else "none was begun"
        raise SearchError(f"Expected a trial that was completed; of {len(finished)} none was: {failed}.")
    return list(distinct.values())[:count]


def full_configs(search: Search, records: list[Record], seeds: int) -> dict[TrainConfig, Record]:
    """What is trained anew: each finalist from each seed, for as many epochs as the base has."""
    return {
        search.full_config(record.values, record.number, search.seed + seed): record
        for record in records
        for seed in range(seeds)
    }


def are_trained(kept: dict[str, Any] | None, configs: dict[TrainConfig, Record], trials: int) -> bool:
    """Whether these very trainings were kept, after so many trials."""
    if kept is None or kept["trials"] != trials:
        return False
    return {config.fingerprint() for config in configs} == {run.get("config") for run in kept["runs"]}


def summed_up(configs: dict[TrainConfig, Record], runs: list[Run], version: int, trials: int) -> dict[str, Any]:
    """What is worth keeping of the finalists' runs, after so many trials; version 0 is a model that was refused."""
    found = [
        {
            "trial": configs[run.config].number,
            "seed": run.config.seed,
            "config": run.config.fingerprint(),
            "run": run.directory.name,
            "validation": run.result.validation_accuracy,
            "test": run.evaluation.accuracy,
        }
        for run in runs
    ]
    return {"trials": trials, "version": version, "runs": found}


def keep(directory: Path, kept: dict[str, Any]) -> None:
    """Writes it into the search's directory: the mark that the search needs nothing more."""
    write_json(directory / KEPT, kept)


def kept(directory: Path) -> dict[str, Any] | None:
    """What `keep` wrote; None if there is nothing."""
    path = directory / KEPT
    return json.loads(path.read_text()) if path.exists() else None
