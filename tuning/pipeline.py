"""The search pipeline: load its state, search, retrain the finalists, judge, push, report."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from registry.disk import write_json
from registry.text import counted, flatten
from trainer import pipeline
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.options import REFUSED, fail
from trainer.prepare import prepare
from trainer.report import REFUSAL, refusal, summary
from trainer.training.checkpoint import claimed
from tuning import finalists, report, tuner, workers
from tuning.options import SearchOptions
from tuning.oracles import HEARTBEAT_TIMEOUT_S, ORACLES, SavedOracle
from tuning.progress import Progress
from tuning.space import Search, SearchError

IDENTITY = "search.json"  # what a search that goes on must have in common with its beginning
STATE = "oracle.json"
# How long the chief waits for workers of other machines to hear that the search is over.
SHUTDOWN_GRACE_S = 60.0


def work(search: Search, options: SearchOptions, dataset: ImageDataset) -> None:
    """What a worker does.

    Raises:
        SearchError: the chief cannot be reached, or the data has changed since the search began.
    """
    logs = options.directory / "tensorboard" if options.runs.tensorboard else None
    if os.environ.get(workers.SUPERVISED):  # on another machine there is no search.json, or one of an earlier search
        _check_unchanged(dataset.sha256, options)
    tuner.work(search, dataset, options.directory, logs)


def run(search: Search, options: SearchOptions, data: str, *, alone: bool) -> int:
    """Searches, retrains, pushes and reports; what the same command did before is not done again.

    Args:
        search: what is searched.
        options: how.
        data: the SHA-256 of what it is searched on, which was checked.
        alone: with workers of its own; else as the chief of others.

    Returns:
        The exit code: 0, or 3 if the gate refused the best model.

    Raises:
        SearchError: the directory holds another search, or no trial of this one completed.
        DataError: the data is no longer there, or not what it should be, when the finalists are to be trained.
    """
    directory = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    with claimed(directory) as free:
        if not free:
            raise SearchError(f"{directory}: another process searches there; --name NAME makes one beside it.")
        _check_settings(search, options, data)
        timeout, key = float("inf") if alone else HEARTBEAT_TIMEOUT_S, search.key(data)
        oracle = ORACLES[search.algorithm](search, directory / STATE, timeout, key)
        kept = finalists.kept(directory)
        if kept and oracle.complete and _is_answered(search, options, oracle, kept):
            print(f"The search is finished: {directory / report.PAGE}. More --trials continue it; --fresh starts over.")
            if not alone:
                tuner.start_chief(search, oracle, directory)
                oracle.closed = True
                time.sleep(SHUTDOWN_GRACE_S)  # to tell the workers that come by the same command
            return 0 if kept["version"] else fail(REFUSAL, REFUSED)
        try:
            if not (alone and oracle.complete):
                _search(search, options, oracle, alone)
        finally:
            report.write_table(search, oracle.finished, directory)
        return _retrain(search, options, oracle)


def _check_unchanged(data: str, options: SearchOptions) -> None:
    """Refuses to mix trials and finalists of different data."""
    if json.loads((options.directory / IDENTITY).read_text())["data"] != data:
        raise SearchError(
            f"The data of the search in {options.directory} has changed since it began. --fresh starts over with the "
            "data as it is now, --name NAME makes a search beside it."
        )


def _check_settings(search: Search, options: SearchOptions, data: str) -> None:
    """Makes sure that the directory holds this search or none yet.

    Raises:
        SearchError: there is another search; says what differs.
    """
    directory = options.directory
    identity = json.loads(json.dumps(search.identity() | {"data": data, "state": STATE}))
    path = directory / IDENTITY
    if not path.exists() and any(not each.name.startswith(".") for each in directory.iterdir()):
        raise SearchError(f"{directory} must be empty or hold a search. --name NAME makes one elsewhere.")
    if options.fresh:
        for old in directory.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    if not path.exists():
        write_json(path, identity)
    # A setting that the trainer has learned since was at its plain value.
    plain = {name: value for name, value in TrainConfig().asdict().items() if name in identity["base"]}
    try:
        found = json.loads(path.read_text())
        there, asked = flatten(found | {"base": plain | found["base"]}), flatten(identity)
    except (ValueError, TypeError, KeyError) as error:
        raise SearchError(f"{path}: expected the settings of a search ({error}). --fresh starts over.") from error
    there.pop("base.epochs", None)  # of the finalists, which are no part of the search
    # Of another space, each setting that is searched in one of them alone would differ too.
    follows = ("base.", "fixed") if there.get("space") != asked["space"] else ()
    differing = [
        f"{name.removeprefix('base.')} is {there.get(name)} there, {asked.get(name)} was asked for"
        for name in dict.fromkeys([*there, *asked])
        if there.get(name) != asked.get(name) and not name.startswith(follows)
    ]
    if "state" not in found:
        differing = ["it was begun with an earlier version of this project"]
    if differing:
        raise SearchError(
            f"{directory} holds another search: {'; '.join(differing)}. --fresh replaces it, --name NAME makes one "
            "beside it."
        )


def _is_answered(search: Search, options: SearchOptions, oracle: SavedOracle, kept: dict[str, Any]) -> bool:
    """Whether the very finalists that are asked for were trained and judged."""
    if not kept["version"] and options.runs.reason:
        return False  # refused then, and to be pushed nevertheless
    configs = finalists.finalists(search, oracle.finished, options.finalists, options.final_seeds)
    trained = {run["config"] for run in kept["runs"]}
    return kept["trials"] == len(oracle.end_order) and trained == {config.fingerprint() for config in configs}


def _search(search: Search, options: SearchOptions, oracle: SavedOracle, alone: bool) -> None:
    """Runs what is left of the trials.

    Raises:
        SearchError: no worker can work here, or the chief cannot listen.
        OSError: the state cannot be written.
    """
    directory, count = options.directory, options.workers
    if oracle.end_order:
        print(f"Resuming after {counted(len(oracle.end_order), 'trial')} of {directory}", flush=True)
    trials = counted(search.limit, "trial") if search.limit else "all trials"
    trials += f" of {counted(search.epochs, 'epoch')}"
    who = f"{counted(count, 'worker')} here" if alone else "workers that come to the chief"
    print(f"Searching {', '.join(search.free)}: {trials}, {search.algorithm}, {who}; kept in {directory}", flush=True)
    if options.runs.tensorboard:
        print(f"Logs for TensorBoard's HParams page: {directory / 'tensorboard'}", flush=True)
    deadline = time.monotonic() + 60 * options.time_limit if options.time_limit else float("inf")
    progress = Progress(search, oracle)

    def goes_on() -> bool:
        if oracle.failure:
            raise oracle.failure
        progress.show()
        return time.monotonic() < deadline

    tuner.start_chief(search, oracle, directory)
    if alone:
        oracle.release()
        workers.run(count, [sys.executable, *sys.orig_argv[1:]], directory, oracle.worker_died, goes_on)
    else:
        _lead(oracle, goes_on)
    progress.show()
    if len(oracle.end_order) == len(oracle.trials):
        shutil.rmtree(directory / "trials", ignore_errors=True)


def _lead(oracle: SavedOracle, goes_on: Callable[[], bool]) -> None:
    """Waits until workers of other machines have done all trials, and then until they have heard so."""
    while goes_on() and not oracle.complete:
        time.sleep(workers.POLL_S)
    oracle.closed = True
    until = time.monotonic() + SHUTDOWN_GRACE_S
    while oracle.tuner_ids - {tuner.CHIEF} and time.monotonic() < until:
        time.sleep(workers.POLL_S)


def _retrain(search: Search, options: SearchOptions, oracle: SavedOracle) -> int:
    """Trains the finalists in full, and lets the best of them be judged. Returns the exit code."""
    prepared = prepare(search.base, options.runs)  # again, because the search may have taken days
    _check_unchanged(prepared.dataset.sha256, options)
    configs = finalists.finalists(search, oracle.finished, options.finalists, options.final_seeds)
    count = len(configs) // options.final_seeds
    best, seeds = "trial" if count == 1 else f"{count} trials", counted(options.final_seeds, "seed")
    print(f"\nTraining the best {best} in full, {'each ' if count > 1 else ''}from {seeds}", flush=True)
    try:
        runs, version, store = pipeline.run(list(configs), prepared, options.runs)
        said, code = summary(runs, version, store), 0
    except pipeline.RefusedError as refused:
        runs, version, said, code = list(refused.runs), 0, refusal(refused), REFUSED
    kept = finalists.summary(configs, runs, version, len(oracle.end_order))
    page = report.write(search, oracle.finished, kept, options.directory)
    write_json(options.directory / finalists.KEPT, kept)
    print(f"{said}\nReport:    {page}")
    return fail(REFUSAL, code) if code else 0
