"""After the search: the best settings are trained anew in full, from several seeds, and go the way of any other run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trainer.config import TrainConfig
from trainer.runs import Run
from tuning.journal import Journal, Record, SearchError, write_whole
from tuning.space import Search

KEPT = "finalists.json"


@dataclass(frozen=True)
class Retrained:
    """One full training of a finalist.

    Attributes:
        number: of the trial that it comes from.
        seed, run: of the training.
        validation, test: accuracies; the test images chose nothing.
    """

    number: int
    seed: int
    run: str
    validation: float
    test: float


@dataclass(frozen=True)
class Kept:
    """What came of the finalists: after how many trials they were chosen, and the version pushed, 0 if refused."""

    trials: int
    version: int
    runs: tuple[Retrained, ...]


def finalists(search: Search, journal: Journal, count: int) -> list[Record]:
    """The best trials whose settings differ, best first.

    Raises:
        SearchError: no trial was completed.
    """
    completed = sorted(
        (each for each in journal.finished if each.score is not None),
        key=lambda each: (-(each.score or 0), each.number),
    )
    distinct: dict[TrainConfig, Record] = {}
    for record in completed:
        distinct.setdefault(replace(search.config(record.values, 0), seed=0), record)
    if not distinct:
        failed = journal.finished[-1].message if journal.finished else "none was begun"
        raise SearchError(f"Expected a trial that was completed; of {len(journal.finished)} none was: {failed}.")
    return list(distinct.values())[:count]


def full_configs(search: Search, records: list[Record], seeds: int) -> dict[TrainConfig, Record]:
    """What is trained anew: each finalist from each seed, for as many epochs as the base has."""
    return {
        search.full_config(record.values, record.number, search.seed + seed): record
        for record in records
        for seed in range(seeds)
    }


def are_trained(kept: Kept, configs: dict[TrainConfig, Record], journal: Journal) -> bool:
    """Whether these very trainings were kept, after all trials of the journal."""
    asked = {(record.number, config.seed) for config, record in configs.items()}
    return kept.trials == len(journal.finished) and asked == {(run.number, run.seed) for run in kept.runs}


def summed_up(configs: dict[TrainConfig, Record], runs: list[Run], version: int, trials: int) -> Kept:
    """What is worth keeping of the finalists' runs."""
    found = (
        Retrained(
            configs[run.config].number,
            run.config.seed,
            run.directory.name,
            run.result.validation_accuracy,
            run.evaluation.accuracy,
        )
        for run in runs
    )
    return Kept(trials, version, tuple(found))


def keep(directory: Path, kept: Kept) -> None:
    """Writes it into the search's directory: the mark that the search needs nothing more."""
    write_whole(directory / KEPT, json.dumps(asdict(kept), indent=2) + "\n")


def kept(directory: Path) -> Kept | None:
    """What `keep` wrote; None if there is nothing."""
    path = directory / KEPT
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    return Kept(content["trials"], content["version"], tuple(Retrained(**each) for each in content["runs"]))
