"""keras-tuner's Tuner over the trainer: `search()` is the chief's loop or a worker's, by keras-tuner's environment.

A worker asks the chief for a trial, trains it, reports each epoch and asks again.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import keras
import keras_tuner
import tensorflow as tf
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError

from trainer.data.dataset import ImageDataset
from trainer.training import checkpoint
from trainer.training.fit import DivergedError, train
from tuning.oracles import SavedOracle, limit_waiting
from tuning.space import Search, SearchError
from tuning.trials import SCORE

# A trial leaves some tens of megabytes behind; to start over takes about as long as an epoch.
TRIALS_PER_PROCESS = 8
WAIT_S = 1.0  # between two questions of a worker for which there is no trial yet
CHIEF_TIMEOUT_S = 600  # a chief that does not answer for so long does not come back
CHIEF = "chief"
ANOTHER = (
    "The chief's search is another one now, or has other options or other data than this worker. Start this worker "
    "again by the chief's command."
)


class TrainerTuner(keras_tuner.Tuner):
    """Trains each trial with the trainer, in a directory of its own that lasts as long as the trial."""

    def __init__(
        self, search: Search, oracle: keras_tuner.Oracle, directory: Path, logs: Path | None = None, key: str = ""
    ) -> None:
        """Prepares a search of this `key` whose files are in `directory`; `logs` is for TensorBoard's HParams page."""
        super().__init__(oracle=oracle, directory=directory.parent, project_name=directory.name)
        self._settings, self._trials, self._logs, self._key = search, directory / "trials", logs, key
        self._trained, self._idle, self._token = 0, False, ""

    def save(self) -> None:
        """Saves nothing: the oracle has saved everything."""

    def search(self, *args: Any) -> None:
        try:
            super().search(*args)
        except FatalError as error:
            raise (error.__cause__ or error) from None

    def pre_create_trial(self) -> None:
        if self._trained == TRIALS_PER_PROCESS:  # TensorFlow leaks memory per trial
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command
        if self._idle:
            time.sleep(WAIT_S)
        self._idle = True

    def on_trial_begin(self, trial: Trial) -> None:
        self._idle = False
        key, _, token = trial.trial_id.partition("-")[2].partition(".")
        self._token = self._token or token  # the first trial's
        if (key, token) != (self._key, self._token):
            trial.status = TrialStatus.IDLE
            self.oracle.end_trial(trial)
            raise SearchError(ANOTHER)

    def run_trial(self, trial: Trial, dataset: ImageDataset) -> None:
        try:
            self._train(trial, dataset)
        except DivergedError as error:
            raise FailedTrialError(str(error)) from None
        except Exception as error:  # keras-tuner would count any other as a failure of the trial
            raise FatalError(str(error)) from error

    def on_trial_end(self, trial: Trial) -> None:
        super().on_trial_end(trial)
        if self._settings.algorithm != "hyperband":  # whose better trials are carried on
            shutil.rmtree(self._directory(trial))
        keras.backend.clear_session()
        gc.collect()
        self._trained += 1

    def _train(self, trial: Trial, dataset: ImageDataset) -> None:
        values, number = trial.hyperparameters.values, _number(trial)
        config = self._settings.config(values, number)
        print(f"\nTrial {number + 1}: {config}", flush=True)  # people count from 1, keras-tuner from 0
        directory = self._directory(trial)
        directory.mkdir(parents=True, exist_ok=True)
        if (past := values.get("tuner/trial_id")) and not (directory / "checkpoint").exists():
            # Hyperband's next rung begins where the last one ended, optimizer and schedule included.
            with suppress(FileNotFoundError):
                shutil.copytree(self._directory(trial, past) / "checkpoint", directory / "checkpoint")
        reporter = _Reporter(self.oracle, trial, values.get("tuner/epochs", config.epochs))
        saved = checkpoint.newest(directory / "checkpoint")
        history = saved.history if saved else {SCORE: []}
        for epoch, accuracy in enumerate(history[SCORE]):
            reporter.report(epoch, accuracy)
        if not reporter.done:
            result = train(config, dataset, directory, [reporter])
            history = result.history
            if result.diverged:
                raise DivergedError(result.diverged)
        if self._logs:
            _log(self._logs / str(number), values, max(history[SCORE]))

    def _directory(self, trial: Trial, past: str | None = None) -> Path:
        """Where a trial keeps its checkpoints; a trial of another search, whose traces may be here, has others."""
        number = _number(trial)
        config = self._settings.config(trial.hyperparameters.values, number)
        return self._trials / f"{int(past or number)}-{config.fingerprint()}"


def _number(trial: Trial) -> int:
    return int(trial.trial_id.partition("-")[0])


class _Reporter(keras.callbacks.Callback):
    """Reports each epoch's validation accuracy, and ends the trial when the chief or its rung says so."""

    def __init__(self, oracle: Any, trial: Trial, epochs: int) -> None:
        super().__init__()
        self._oracle, self._trial, self._epochs = oracle, trial, epochs
        self.done = False

    def report(self, epoch: int, accuracy: float) -> None:
        answer = self._oracle.update_trial(self._trial.trial_id, {SCORE: accuracy}, step=epoch)
        if answer.status == TrialStatus.INVALID:
            raise SearchError(ANOTHER)
        self.done = answer.status != TrialStatus.RUNNING or epoch + 1 >= self._epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if all(map(math.isfinite, (logs or {}).values())):
            self.report(epoch, (logs or {})[SCORE])
        if self.done:
            self.model.stop_training = True


def _log(directory: Path, values: dict[str, Any], score: float) -> None:
    from tensorboard.plugins.hparams import api

    with tf.summary.create_file_writer(str(directory)).as_default():
        api.hparams({name: value for name, value in values.items() if not name.startswith("tuner/")})
        tf.summary.scalar(SCORE, score, step=0)


def start_chief(search: Search, oracle: SavedOracle, directory: Path) -> None:
    """Starts keras-tuner's chief, which answers workers until this process ends.

    It listens at KERASTUNER_ORACLE_IP:..._PORT, or, for workers of this machine, at a free port of 127.0.0.1.

    Raises:
        SearchError: it cannot listen there.
    """
    host, port = os.environ.get("KERASTUNER_ORACLE_IP") or "127.0.0.1", os.environ.get("KERASTUNER_ORACLE_PORT") or "0"
    try:
        with socket.create_server((host, int(port))) as free:  # keras-tuner would share the port of another chief
            port = str(free.getsockname()[1])
    except (OSError, OverflowError, ValueError) as error:
        raise SearchError(f"Cannot listen on {host}:{port}, KERASTUNER_ORACLE_IP and ..._PORT ({error}).") from error
    os.environ |= {"KERASTUNER_TUNER_ID": CHIEF, "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": port}
    oracle.tuner_ids.add(CHIEF)  # without any id keras-tuner's chief stops, and workers that come late would wait
    threading.Thread(target=TrainerTuner(search, oracle, directory).search, daemon=True).start()


def work(
    search: Search, dataset: ImageDataset, directory: Path, logs: Path | None = None, timeout: float = CHIEF_TIMEOUT_S
) -> None:
    """Works until the chief has no more trials.

    Args:
        directory: where trials keep their checkpoints, under `trials`.
        logs: where to write what TensorBoard's HParams page shows; None: nowhere.
        timeout: seconds to wait for an answer of the chief.

    Raises:
        SearchError: the chief cannot be reached.
    """
    if search.base.deterministic:
        tf.config.experimental.enable_op_determinism()
    limit_waiting(timeout)
    oracle = keras_tuner.Oracle(keras_tuner.Objective(SCORE, "max"))  # the chief has the one that proposes
    try:
        TrainerTuner(search, oracle, directory, logs, search.key(dataset.sha256)).search(dataset)
    except grpc.RpcError as error:
        where = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise SearchError(f"The chief at {where} failed: {error.details()}.") from error
        raise SearchError(
            f"Expected a chief at {where} (KERASTUNER_ORACLE_IP and ..._PORT); none answered within {timeout} s."
        ) from error
