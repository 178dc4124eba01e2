"""After the search: the best settings are trained again in full with several seeds, and judged like any other run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.run import Run
from tuning.space import Search, SearchError
from tuning.trials import Record

KEPT = "finalists.json"  # in the search's directory, once the search needs nothing more


def finalists(search: Search, finished: list[Record], count: int, seeds: int) -> dict[TrainConfig, Record]:
    """What is trained again: the best trials whose settings differ, best first, each from each seed.

    Raises:
        SearchError: no trial completed.
    """
    completed = [each for each in finished if each.score is not None]
    distinct: dict[TrainConfig, Record] = {}
    for record in sorted(completed, key=lambda each: (-(each.score or 0), each.number)):
        distinct.setdefault(replace(search.config(record.values, 0), seed=0), record)
    if not distinct:
        if not finished:
            raise SearchError("No trial ended; run the same command again or raise --time-limit.")
        raise SearchError(f"Expected a trial that completed; of {len(finished)} none did: {finished[-1].message}.")
    return {
        search.full_config(record.values, record.number, search.seed + seed): record
        for record in list(distinct.values())[:count]
        for seed in range(seeds)
    }


def summary(configs: dict[TrainConfig, Record], runs: list[Run], version: int, trials: int) -> dict[str, Any]:
    """What is kept of the finalists' runs, after so many trials; version 0 is a model that was refused."""
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


def kept(directory: Path) -> dict[str, Any] | None:
    """The summary that the search's directory holds, if any."""
    path = directory / KEPT
    return json.loads(path.read_text()) if path.exists() else None
