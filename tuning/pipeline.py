"""The whole way of a search: take up its journal, search, retrain the finalists, judge, push, report."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import ExitStack
from typing import Any

from registry.text import flatten
from trainer import pipeline
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.options import REFUSED, fail
from trainer.prepare import loaded, prepare
from trainer.report import REFUSAL, refusal, summary
from trainer.training.checkpoint import claimed
from tuning import finalists, report, worker
from tuning.journal import Journal, SearchError, write_whole
from tuning.options import SUPERVISED, Options
from tuning.oracles import build_oracle
from tuning.progress import Progress
from tuning.recorded import SILENCE_S
from tuning.search import FAREWELL_S, chief, lead, work_here
from tuning.space import Search

IDENTITY = "search.json"  # what a search that goes on must have in common with its beginning


def work(search: Search, options: Options) -> None:
    """What a worker does.

    Raises:
        SearchError: the chief cannot be reached, or the data has changed since the search began.
    """
    logs = options.directory / "tensorboard" if options.tensorboard else None
    dataset = loaded(search.base, options.for_runs)
    if os.environ.get(SUPERVISED):  # on another machine there is no search.json, or one of an earlier search
        _check_unchanged(dataset, options)
    if worker.work(search, dataset, options.directory / "trials", logs):
        os.execv(sys.executable, _command())  # noqa: S606 - this process again, with empty memory


def run(search: Search, options: Options, *, alone: bool) -> int:
    """Searches, retrains, pushes and reports; what was done before by the same command is not done again.

    Args:
        search: what is searched.
        options: how.
        alone: with workers of its own; else as the chief of others.

    Returns:
        The exit code: 0, or 3 if the gate refused the best model.

    Raises:
        SearchError: the directory holds another search, or nothing came of this one.
        DataError: the data is missing, damaged or not what it should be.
    """
    directory = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    with claimed(directory) as free:
        if not free:
            raise SearchError(f"{directory}: another process searches there; --name NAME makes one beside it.")
        journal, kept = _taken_up(search, options), finalists.kept(directory)
        if kept and _is_complete(search, journal, kept) and _is_answered(search, options, journal, kept):
            print(
                f"The search is finished: {directory / report.PAGE}. More --trials go on with it, --fresh begins anew."
            )
            if not alone:
                with chief(build_oracle(search, journal, SILENCE_S), _address()) as _:
                    time.sleep(FAREWELL_S)  # to tell the workers that come by the same command
            return 0 if kept["version"] else fail(REFUSAL, REFUSED)
        with ExitStack() as serving:
            exhausted = True
            try:
                if not (alone and _is_complete(search, journal, kept)):
                    exhausted = _search(search, options, journal, serving, alone)
            finally:
                report.write_table(search, journal, directory)
            # Meanwhile the chief goes on telling workers that come late that there is nothing left to do.
            return _retrain(search, options, journal, exhausted)


def _check_unchanged(dataset: ImageDataset, options: Options) -> None:
    """Refuses to mix trials and finalists of different data."""
    if json.loads((options.directory / IDENTITY).read_text())["data"] != dataset.sha256:
        raise SearchError(
            f"The data of the search in {options.directory} has changed since it began. --fresh begins anew with the "
            "data as it is now, --name NAME makes a search beside it."
        )


def _command() -> list[str]:
    """What started this process: a worker is the same command in another environment."""
    return [sys.executable, *sys.orig_argv[1:]]


def _taken_up(search: Search, options: Options) -> Journal:
    """The journal of the same search, or a new one.

    Raises:
        SearchError: there is another search; says what differs.
    """
    directory, dataset = options.directory, prepare(search.base, options.for_runs).dataset
    identity = json.loads(json.dumps(search.identity() | {"data": dataset.sha256}))
    path = directory / IDENTITY
    if not path.exists() and any(not each.name.startswith(".") for each in directory.iterdir()):
        raise SearchError(f"{directory} must be empty or hold a search. --name NAME makes one elsewhere.")
    if options.fresh:
        for old in directory.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    if not path.exists():
        write_whole(path, json.dumps(identity, indent=2) + "\n")
    # A setting that the trainer has learned since was at its plain value.
    plain = {name: value for name, value in TrainConfig().asdict().items() if name in identity["base"]}
    try:
        found = json.loads(path.read_text())
        there, asked = flatten(found | {"base": plain | found["base"]}), flatten(identity)
    except (ValueError, TypeError, KeyError) as error:
        raise SearchError(f"{path}: expected the settings of a search ({error}). --fresh begins anew.") from error
    there.pop("base.epochs", None)  # of the finalists, which are no part of the search
    # Of another space, each setting that is searched in one of them alone would differ too.
    follows = ("base.", "fixed") if there.get("space") != asked["space"] else ()
    differing = [
        f"{name} is {there.get(name)} there, {asked.get(name)} was asked for"
        for name in dict.fromkeys([*there, *asked])
        if there.get(name) != asked.get(name) and not name.startswith(follows)
    ]
    if differing:
        raise SearchError(
            f"{directory} holds another search: {'; '.join(differing)}. --fresh replaces it, --name NAME makes one "
            "beside it."
        )
    return Journal(directory / "trials.jsonl")


def _is_complete(search: Search, journal: Journal, kept: dict[str, Any] | None) -> bool:
    """Whether all trials that were asked for have ended, or all that the space has."""
    finished = len(journal.finished)
    if finished < len(journal.records):
        return False
    exhausted = kept is not None and kept.get("exhausted") and kept["limit"] == search.limit
    return bool(exhausted) or (search.limit is not None and search.limit <= finished)


def _is_answered(search: Search, options: Options, journal: Journal, kept: dict[str, Any]) -> bool:
    """Whether the very finalists that are asked for were trained and judged."""
    if not kept["version"] and options.reason:
        return False  # refused then, and to be pushed nevertheless
    best = finalists.finalists(search, journal, options.finalists)
    configs = finalists.full_configs(search, best, options.final_seeds)
    return finalists.are_trained(kept, configs, journal)


def _address() -> str:
    """Where the chief of workers on other machines listens."""
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


def _search(search: Search, options: Options, journal: Journal, serving: ExitStack, alone: bool) -> bool:
    """Runs what is left of the trials. Returns whether the space has no more."""
    directory = options.directory
    oracle = build_oracle(search, journal, float("inf") if alone else SILENCE_S)
    if journal.finished:
        print(f"Going on after {len(journal.finished)} trials of {directory}", flush=True)
    workers = options.workers if alone else 0
    progress = Progress(search, journal, directory, workers)
    if options.tensorboard:
        print(f"Logs for TensorBoard's HParams page: {directory / 'tensorboard'}", flush=True)
    deadline = time.monotonic() + 60 * options.time_limit if options.time_limit else float("inf")
    port = serving.enter_context(chief(oracle, "127.0.0.1:0" if alone else _address()))
    if alone:
        work_here(oracle, journal, progress, deadline, workers=workers, port=port, command=_command(), logs=directory)
    else:
        lead(oracle, journal, progress, deadline)
    if all(each.status for each in journal.records.values()):
        shutil.rmtree(directory / "trials", ignore_errors=True)
    return oracle.over


def _retrain(search: Search, options: Options, journal: Journal, exhausted: bool) -> int:
    """Trains the finalists in full, and lets the best of them be judged. Returns the exit code."""
    prepared = prepare(search.base, options.for_runs)
    _check_unchanged(prepared.dataset, options)
    best = finalists.finalists(search, journal, options.finalists)
    configs = finalists.full_configs(search, best, options.final_seeds)
    print(f"\nTraining the best {len(best)} in full, from {options.final_seeds} seeds each", flush=True)
    try:
        runs, version, store = pipeline.run(list(configs), prepared, options.for_runs)
        said, code = summary(runs, version, store), 0
    except pipeline.RefusedError as refused:
        runs, version, said, code = list(refused.runs), 0, refusal(refused), REFUSED
    kept = finalists.summed_up(configs, runs, version, len(journal.finished))
    kept |= {"exhausted": exhausted, "limit": search.limit}
    page = report.write(search, journal, kept, options.directory)
    finalists.keep(options.directory, kept)
    print(f"{said}\nReport:    {page}")
    return fail(REFUSAL, code) if code else 0
