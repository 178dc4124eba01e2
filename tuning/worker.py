"""A worker: asks keras-tuner's chief for a trial, trains it through the trainer, reports each epoch, asks again.

It is known by KERASTUNER_TUNER_ID and finds the chief at KERASTUNER_ORACLE_IP:KERASTUNER_ORACLE_PORT. A process
does a few trials only, because TensorFlow leaks memory per trial.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import keras
import tensorflow as tf
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src.distribute import oracle_client

from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.training import checkpoint
from trainer.training.fit import DivergedError, train
from tuning.journal import COMPLETED, FAILED, SearchError
from tuning.recorded import SCORE
from tuning.space import Search

# A trial leaves some tens of megabytes behind; to start anew takes about as long as an epoch.
TRIALS_A_PROCESS = 8
# A chief that does not answer for so long does not come back.
PATIENCE_S = 600
WAIT_S = 1.0


class _Reporter(keras.callbacks.Callback):
    """Tells the chief each epoch's validation accuracy, and ends the trial when the chief or its rung says so."""

    def __init__(self, oracle: Any, trial: Trial, epochs: int) -> None:
        super().__init__()
        self._oracle, self._trial, self._epochs = oracle, trial, epochs
        self.diverged = self.done = False

    def tell(self, epoch: int, accuracy: float) -> None:
        answer = self._oracle.update_trial(self._trial.trial_id, {SCORE: accuracy}, step=epoch)
        self.done = answer.status == TrialStatus.STOPPED or epoch + 1 >= self._epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if all(map(math.isfinite, logs.values())):
            self.tell(epoch, logs[SCORE])
        else:
            self.diverged = self.done = True
        self.model.stop_training = self.done


def work(
    search: Search, dataset: ImageDataset, folder: Path, logs: Path | None = None, patience: float = PATIENCE_S
) -> bool:
    """Works until the chief has no more trials, or this process has done enough of them.

    Args:
        folder: where trials keep their checkpoints while the search lasts.
        logs: where to write what TensorBoard's HParams page shows; None: nowhere.
        patience: seconds to wait for an answer of the chief.

    Returns:
        Whether there may be more trials, for a new process.

    Raises:
        SearchError: the chief cannot be reached.
    """
    if search.base.deterministic:
        tf.config.experimental.enable_op_determinism()
    oracle_client.TIMEOUT = patience
    oracle = oracle_client.OracleClient(None)
    try:
        for _ in range(TRIALS_A_PROCESS):
            trial = _next(oracle)
            if trial is None:
                return False
            _run(oracle, trial, search, dataset, folder, logs)
            keras.backend.clear_session()
            gc.collect()
    except grpc.RpcError as error:
        where = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        raise SearchError(
            f"Expected a chief at {where} (KERASTUNER_ORACLE_IP and ..._PORT); none answered within {patience} s."
        ) from error
    return True


def _next(oracle: Any) -> Trial | None:
    while True:
        trial = oracle.create_trial(oracle.tuner_id)
        if trial.status == TrialStatus.STOPPED:
            return None
        if trial.status == TrialStatus.RUNNING:
            return trial
        time.sleep(WAIT_S)


def _run(oracle: Any, trial: Trial, search: Search, dataset: ImageDataset, folder: Path, logs: Path | None) -> None:
    values, number = trial.hyperparameters.values, int(trial.trial_id)
    config = search.config(values, number)
    print(f"\nTrial {number}: {config}", flush=True)
    directory = _folder(folder, number, config)
    directory.mkdir(parents=True, exist_ok=True)
    if "tuner/trial_id" in values:
        _carry_on(_folder(folder, int(values["tuner/trial_id"]), config), directory)
    reporter = _Reporter(oracle, trial, values.get("tuner/epochs", config.epochs))
    saved = checkpoint.newest(directory / "checkpoint")
    history = saved.history if saved else {SCORE: []}
    for epoch, accuracy in enumerate(history[SCORE]):
        reporter.tell(epoch, accuracy)
    if not reporter.done:
        # A trial of which no epoch was worth keeping fails as one that diverges later does.
        with suppress(DivergedError):
            history = train(config, dataset, directory, [reporter]).history
    if logs and not reporter.diverged:
        _log(logs / str(number), values, max(history[SCORE]))
    trial.status = FAILED if reporter.diverged else COMPLETED
    oracle.end_trial(trial)
    if search.algorithm != "hyperband":  # whose better trials are carried on
        shutil.rmtree(directory)


def _folder(trials: Path, number: int, config: TrainConfig) -> Path:
    """Where a trial keeps its checkpoints. The same number of another search, whose traces may be here, has others."""
    return trials / f"{number}-{config.fingerprint()}"


def _carry_on(past: Path, directory: Path) -> None:
    """Hyperband's next rung begins where the last one ended, optimizer and schedule included."""
    if (past / "checkpoint").is_dir() and not (directory / "checkpoint").exists():
        shutil.copytree(past / "checkpoint", directory / "checkpoint")


def _log(directory: Path, values: dict[str, Any], score: float) -> None:
    from tensorboard.plugins.hparams import api

    with tf.summary.create_file_writer(str(directory)).as_default():
        api.hparams({name: value for name, value in values.items() if not name.startswith("tuner/")})
        tf.summary.scalar(SCORE, score, step=0)
