"""Four search algorithms, three of them keras-tuner's, with a state that survives a kill at any moment.

Everything that depends on keras-tuner's insides (version 1.4.8) is in this file. Upstream writes several files in place
and counts a trial whose end it has just saved as running; here one file holds everything and is replaced whole.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import secrets
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import Objective, oracles, synchronized
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src.distribute import oracle_client

from registry.disk import write_whole
from tuning.space import Search, SearchError
from tuning.trials import FAILED, SCORE, Record, history, is_losing

# A trial whose worker died so often without finishing an epoch fails: it may be what kills them.
MAX_WORKER_DEATHS = 5
# A trial whose worker, on another machine, is silent for so long goes to the next worker. Longer than any epoch.
HEARTBEAT_TIMEOUT_S = 1800.0


class SavedOracle(keras_tuner.Oracle):
    """What all four algorithms have in common here.

    A trial belongs to a worker's id: a worker that reconnects under the same id gets its trial back. Workers know a
    trial by an id that ends with the search's key and a random token, by which reports on trials of another search are
    recognised, also of an earlier one with the same key.

    Attributes:
        failure: why the state could not be written; the search cannot go on.
        closed: the time is up; nothing is handed out or accepted any more, and unfinished trials stay unfinished.
    """

    failure: OSError | None = None
    closed = False
    ongoing_trials: dict[str, Trial]

    def __init__(self, search: Search, path: Path, timeout: float = math.inf, key: str = "", **options: Any) -> None:
        """Continues the search from its state in the file `path`, if there is one.

        Args:
            timeout: seconds after which the trial of a worker that reports nothing is given to another.
            key: of the search, with the hash of its data.

        Raises:
            SearchError: the file is damaged.
        """
        super().__init__(
            objective=Objective(SCORE, "max"),
            hyperparameters=search.hyperparameters(),
            allow_new_entries=False,
            seed=search.seed + 1,  # keras-tuner takes 0 for none
            max_consecutive_failed_trials=None,  # failed trials are results here
            **options,
        )
        self.verbose = 0
        self.max_trials = search.limit
        self._search, self._path, self._timeout = search, path, timeout
        self._key, self._token = key, secrets.token_hex(4)
        self._exhausted = False  # a worker was told that there are no more trials
        self._times: dict[str, list[float]] = {}  # when a trial began and, in the end, when it ended
        self._deaths: Counter[str] = Counter()  # by trial, since its last epoch; by worker, before it asked for one
        self._last_heartbeat: dict[str, float] = defaultdict(time.monotonic)  # by trial
        try:
            if path.exists():
                self.set_state(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SearchError(
                f"{path}: expected the state of a search ({type(error).__name__}: {error}). --fresh starts over."
            ) from error

    @property
    def _suffix(self) -> str:
        return f"-{self._key}.{self._token}" if self._key else ""

    @property
    def finished(self) -> list[Record]:
        """The trials that ended, in the order of their ends."""
        ended = [self.trials[each] for each in list(self.end_order)]
        return [Record.of(each, self._times[each.trial_id], self._search.epochs) for each in ended]

    @property
    def complete(self) -> bool:
        """Whether all trials that were asked for have ended, or all that the space has."""
        enough = self.max_trials is not None and len(self.trials) >= self.max_trials
        return len(self.end_order) == len(self.trials) and (enough or self._exhausted)

    def get_state(self) -> dict[str, Any]:
        trials = [each.get_state() for each in self.trials.values()]
        own = {"trials": trials, "times": self._times, "exhausted": self._exhausted, "limit": self.max_trials}
        return super().get_state() | own | {"token": self._token}

    def set_state(self, state: dict[str, Any]) -> None:
        self.trials = {each["trial_id"]: Trial.from_state(each) for each in state["trials"]}
        super().set_state(state)
        self._token = state.get("token") or self._token  # the first states had none
        self._times = state["times"]
        self._exhausted = state["exhausted"] and state["limit"] == self.max_trials
        # keras-tuner saves an ended trial before it takes it from its worker.
        self.ongoing_trials = {
            worker: each for worker, each in self.ongoing_trials.items() if each.status == TrialStatus.RUNNING
        }

    def save(self) -> None:
        try:
            write_whole(self._path, json.dumps(self.get_state()))
        except OSError as error:  # keras-tuner's lock stays locked if an exception passes through it
            self.failure = error

    def _save_trial(self, trial: Trial) -> None:
        self._times.setdefault(trial.trial_id, [time.time()])
        self.save()

    @synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        if self.closed or self.failure:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), "", TrialStatus.STOPPED if self.closed else TrialStatus.IDLE)
        self._deaths.pop(tuner_id, None)
        self._reclaim_lost_trials(tuner_id)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE  # a worker that has one of the last trials may still be lost
        if trial.status == TrialStatus.STOPPED:
            self._exhausted = True
            self.save()
        if trial.status == TrialStatus.RUNNING:
            self._last_heartbeat[trial.trial_id] = time.monotonic()
            self._times[trial.trial_id] = [time.time()]
            trial.metrics = type(trial.metrics)()  # the worker reports earlier epochs again
            trial = copy.copy(trial)
            trial.trial_id += self._suffix
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        """The trial that a worker means; for one of another search, an empty one whose status is INVALID."""
        known = self.trials.get(trial_id.removesuffix(self._suffix))
        return known or Trial(self.get_space(), trial_id, TrialStatus.INVALID)

    @synchronized
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Notes an epoch's validation accuracy; the answer's status is STOPPED if the trial is clearly losing."""
        trial = self.get_trial(trial_id)
        if trial.status != TrialStatus.RUNNING:  # of another search, or another worker got it meanwhile and ended it
            return trial
        trial = super().update_trial(trial.trial_id, metrics, step)
        self._last_heartbeat[trial.trial_id] = time.monotonic()
        self._deaths.pop(trial.trial_id, None)
        if self.closed or self._is_losing(trial, step + 1):
            trial = copy.copy(trial)
            trial.status = TrialStatus.STOPPED
        return trial

    @synchronized
    def end_trial(self, trial: Trial) -> None:
        """Notes a trial's end; one whose status is IDLE was refused by its worker, and goes to the next that asks."""
        known = self.get_trial(trial.trial_id)
        if self.closed or known.status == TrialStatus.INVALID or known.trial_id in self.end_order:
            return  # too late: another worker got the trial meanwhile, the time is up, or this is another search
        if trial.status == TrialStatus.IDLE:
            for worker in [name for name, each in self.ongoing_trials.items() if each.trial_id == known.trial_id]:
                self._requeue(worker)
            self.save()
            return
        if known.trial_id in self._retry_queue:
            self._retry_queue.remove(known.trial_id)
        trial = copy.copy(trial)
        trial.trial_id, trial.hyperparameters = known.trial_id, known.hyperparameters
        self._times[known.trial_id].append(time.time())
        super().end_trial(trial)

    @synchronized
    def worker_died(self, tuner_id: str, reason: str) -> bool:
        """Whether a new worker under this id can be of use; fails a trial that killed too many."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        key = trial.trial_id if trial else tuner_id
        self._deaths[key] += 1
        if trial is None:
            return self._deaths[key] < MAX_WORKER_DEATHS
        self._retry_queue.append(key)
        if self._deaths[key] == MAX_WORKER_DEATHS:
            failed = copy.copy(trial)
            failed.status, failed.message = FAILED, f"its worker died {MAX_WORKER_DEATHS} times: {reason}"
            self.end_trial(failed)
        return True

    @synchronized
    def release(self) -> None:
        """Queues running trials for the next workers that ask, because their own are gone."""
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials = {}

    def _reclaim_lost_trials(self, tuner_id: str) -> None:
        limit = time.monotonic() - self._timeout
        lost = [worker for worker, trial in self.ongoing_trials.items() if self._last_heartbeat[trial.trial_id] < limit]
        if lost and tuner_id not in self.ongoing_trials and not self._retry_queue:
            self._requeue(lost[0])

    def _requeue(self, worker: str) -> None:
        """Takes a worker's trial from it, for the next that asks."""
        self._retry_queue.append(self.ongoing_trials.pop(worker).trial_id)
        self.tuner_ids.discard(worker)

    def _is_losing(self, trial: Trial, epochs: int) -> bool:
        if self._search.algorithm == "hyperband":
            return False
        others = [history(each) for each in self.trials.values() if each.status == TrialStatus.COMPLETED]
        return is_losing(history(trial), others, epochs, self._search.epochs)


class Random(SavedOracle, oracles.RandomSearchOracle):
    """Independent random trials."""


class Grid(SavedOracle):
    """Every point of the space, in order. keras-tuner's own grid cannot be resumed (keras-tuner#1055)."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        values = next(itertools.islice(self._search.points(), len(self.trials), None), None)
        return {"status": TrialStatus.STOPPED if values is None else TrialStatus.RUNNING, "values": values}


class Bayesian(SavedOracle, oracles.BayesianOptimizationOracle):
    """A Gaussian process proposes; where it repeats an earlier trial, a random one takes its place."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # keras-tuner does not save this state; so it depends on the trial's number only.
        self._random_state = np.random.RandomState([self.seed, len(self.trials)])
        proposal = super().populate_space(trial_id)
        repeated = proposal["values"] is not None and self._duplicate(proposal["values"])
        return self._random_populate_space() if repeated else proposal


class Hyperband(SavedOracle, oracles.HyperbandOracle):
    """Many short trials; the better ones are carried on."""

    def __init__(self, search: Search, *args: Any, **options: Any) -> None:
        super().__init__(search, *args, **options, max_epochs=search.epochs, hyperband_iterations=None)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        proposal = super().populate_space(trial_id)
        values = proposal.get("values") or {}
        if past := values.get("tuner/trial_id"):
            values["tuner/root"] = self.trials[past].hyperparameters.values.get("tuner/root", int(past))
        return proposal


ORACLES = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}


def limit_waiting(seconds: float) -> None:
    """Sets how long a worker waits for an answer of the chief; keras-tuner waits an hour."""
    oracle_client.TIMEOUT = seconds
