"""What makes keras-tuner's oracles survive: a journal, from which an equal one is rebuilt after a kill."""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import keras_tuner
from keras_tuner import synchronized
from keras_tuner.engine.trial import Trial, TrialStatus

from tuning.journal import COMPLETED, FAILED, Journal, Record, SearchError
from tuning.space import Search

SCORE = "val_accuracy"
# The median rule compares with at least so many others, and from the middle of a training on: before, a high rate
# looks worse than it ends.
OTHERS, GRACE = 4, 0.5
# A trial whose worker died so often without finishing an epoch fails: it may be what kills them.
DEATHS = 5
# A trial whose worker, on another machine, is silent for so long goes to the next worker. Longer than any epoch.
SILENCE_S = 1800.0
# Apart by more than the random numbers that one proposal draws.
SEEDS_A_TRIAL = 10_000


class Recorded(keras_tuner.Oracle):
    """What all four algorithms have in common here.

    A trial belongs to a worker's id: a worker that reconnects under the same id gets its trial back, as in keras-tuner.
    What is proposed depends on the seed, the trial's number and the trials that ended before, and on nothing else.

    Attributes:
        failure: why the journal could not be written; the search cannot go on.
        over: a worker was told that there are no more trials.
        closed: the time is up; nothing is handed out or taken any more, and unfinished trials stay unfinished.
    """

    failure: OSError | None = None
    over = closed = False
    ongoing_trials: dict[str, Trial]
    _recorded: dict[str, Any] | None = None  # what the trial that is begun again was given

    def open(self, search: Search, journal: Journal, silence: float = float("inf")) -> None:
        """Takes up the search where the journal left it.

        Args:
            silence: seconds after which a trial whose worker says nothing is given to another.

        Raises:
            SearchError: the journal tells of other proposals than this version of keras-tuner makes.
        """
        self.verbose = 0
        self.max_trials = search.limit
        self._search, self._silence = search, silence
        self._deaths: dict[str, int] = {}  # since the last epoch, by trial; before it asked for one, by worker
        self._asked: set[str] = set()
        self._heard: dict[str, float] = {}
        self._given: dict[str, float] = {}
        self._losing: set[str] = set()
        self._journal: Journal | None = None
        self._replay(journal)
        self._journal = journal

    @property
    def all_done(self) -> bool:
        """Whether all trials that were asked for have ended."""
        return self.max_trials is not None and self.max_trials <= len(self.end_order)

    # keras-tuner's own files are not written; the journal has what they have.
    def save(self, *_: Any) -> None: ...

    def _save_trial(self, trial: Trial) -> None: ...

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        self._seed_state = self.seed + SEEDS_A_TRIAL * len(self.trials)
        return super().populate_space(trial_id)

    @synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        if self.closed:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), "", TrialStatus.STOPPED)
        if self.failure:
            return Trial(self.get_space(), "", TrialStatus.IDLE)
        self._asked.add(tuner_id)
        self._deaths.pop(tuner_id, None)
        self._take_from_the_silent(tuner_id)
        known = len(self.trials)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE  # a worker that has one of the last trials may still be lost
        self.over = trial.status == TrialStatus.STOPPED
        if trial.status == TrialStatus.RUNNING:
            self._heard[trial.trial_id] = self._given[trial.trial_id] = time.monotonic()
            trial.metrics = type(trial.metrics)()  # of an earlier worker's epochs, which are told anew
            if len(self.trials) > known:
                self._write("begin", trial, worker=tuner_id, values=trial.hyperparameters.values)
        return trial

    @synchronized
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Takes an epoch's validation accuracy; the answer's status is STOPPED if the trial is plainly losing."""
        trial = super().update_trial(trial_id, metrics, step)
        self._heard[trial_id] = time.monotonic()
        self._deaths.pop(trial_id, None)
        if losing := self._is_losing(trial, step + 1):
            self._losing.add(trial_id)
        if losing or self.closed:
            trial = copy.copy(trial)
            trial.status = TrialStatus.STOPPED
        return trial

    @synchronized
    def end_trial(self, trial: Trial) -> None:
        known = self.trials[trial.trial_id]
        if trial.trial_id in self.end_order or self.closed:
            return  # too late: perhaps of a worker that was given up
        trial.hyperparameters = known.hyperparameters
        super().end_trial(trial)
        if known.trial_id in self._retry_queue:
            self._retry_queue.remove(known.trial_id)
        completed = known.status == COMPLETED
        self._write(
            "end",
            known,
            status=known.status,
            score=float(known.score) if completed else None,
            history=_history(known),
            stopped=completed and known.trial_id in self._losing,
            seconds=round(time.monotonic() - self._given[known.trial_id], 3),
            message="" if completed else known.message or "the loss is no longer a number",
        )

    @synchronized
    def worker_died(self, tuner_id: str, reason: str) -> bool:
        """Whether a worker that comes back by this name can be of use; fails a trial that killed too many."""
        asked = tuner_id in self._asked
        trial = self.ongoing_trials.get(tuner_id) if asked else None
        self._asked.discard(tuner_id)
        key = trial.trial_id if trial else tuner_id
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if self._deaths[key] < DEATHS:
            return True
        if trial:
            trial = copy.copy(trial)
            trial.status, trial.message = FAILED, f"its worker died {DEATHS} times: {reason}"
            self.end_trial(trial)
        return trial is not None

    @synchronized
    def keep_names(self, tuner_ids: set[str]) -> None:
        """Takes the trials from workers that do not come back by their name."""
        for tuner_id in set(self.ongoing_trials) - tuner_ids:
            self._retry_queue.insert(0, self.ongoing_trials.pop(tuner_id).trial_id)

    def _take_from_the_silent(self, tuner_id: str) -> None:
        if tuner_id in self.ongoing_trials or self._retry_queue:
            return
        for other, trial in list(self.ongoing_trials.items()):
            if time.monotonic() - self._heard[trial.trial_id] > self._silence:
                self._retry_queue.append(self.ongoing_trials.pop(other).trial_id)
                self.tuner_ids.discard(other)
                return

    def _is_losing(self, trial: Trial, epochs: int) -> bool:
        """The median rule: the best so far is below the median of what the others had reached after as many epochs.

        Source: D. Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, with the best in place of the mean.
        """
        if self._search.algorithm == "hyperband" or not GRACE * self._search.epochs <= epochs < self._search.epochs:
            return False
        others = [
            max(history[:epochs])
            for each in self.trials.values()
            if each.status == COMPLETED and len(history := _history(each)) >= epochs
        ]
        return len(others) >= OTHERS and max(_history(trial)) < statistics.median(others)

    def _write(self, event: str, trial: Trial, **fields: Any) -> None:
        if self._journal is None:
            return
        try:
            getattr(self._journal, event)(int(trial.trial_id), **fields)
        except OSError as error:  # keras-tuner's lock stays locked if an exception passes through it
            self.failure = error

    def _replay(self, journal: Journal) -> None:
        for event, number in journal.events:
            record = journal.records[number]
            if event == "begin":
                self._begin_again(record, journal)
            else:
                self._end_again(record)
        unfinished, self.ongoing_trials = list(self.ongoing_trials.values()), {}
        for trial in unfinished:
            worker = journal.records[int(trial.trial_id)].worker
            if self.ongoing_trials.setdefault(worker, trial) is not trial:
                self._retry_queue.insert(0, trial.trial_id)
        self.tuner_ids = set(self.ongoing_trials)

    def _begin_again(self, record: Record, journal: Journal) -> None:
        self._recorded = record.values
        trial = self.create_trial(str(record.number))
        proposed, recorded = (
            # An id has as many digits as the number of trials, which may have grown.
            {name: value for name, value in values.items() if name != "tuner/trial_id"}
            for values in (trial.hyperparameters.values, record.values)
        )
        if trial.status != TrialStatus.RUNNING or proposed != recorded:
            raise SearchError(
                f"{journal.path}: trial {record.number} was given {recorded} there, and this version of keras-tuner "
                f"proposes {proposed}. --fresh begins anew."
            )
        self._recorded = None

    def _end_again(self, record: Record) -> None:
        (trial,) = (each for each in self.trials.values() if int(each.trial_id) == record.number)
        for epoch, accuracy in enumerate(record.history):
            if not epoch:
                trial.metrics.register(SCORE, "max")
            trial.metrics.update(SCORE, accuracy, step=epoch)
        ended = copy.copy(trial)
        ended.status, ended.message = record.status, record.message
        self.end_trial(ended)


def _history(trial: Trial) -> list[float]:
    if not trial.metrics.exists(SCORE):
        return []
    return [float(each.mean()) for each in trial.metrics.get_history(SCORE)]
