"""What a training keeps of each epoch: its history, the best weights and a checkpoint, and when it is to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.config import TrainConfig
from trainer.training import checkpoint
from trainer.training.checkpoint import Checkpoint, CheckpointError


class Progress(keras.callbacks.Callback):
    """Keeps the history and the best epoch's weights, stops in time, and writes a checkpoint after each epoch.

    The paper's Algorithm 1: an epoch's weights are kept only if they beat every earlier one. An epoch whose loss is NaN
    or infinite is not kept, and ends the training.
    """

    def __init__(self, config: TrainConfig, data: str, directory: Path, keeps: bool = True) -> None:
        super().__init__()
        self._config, self._data, self._directory, self._keeps = config, data, directory, keeps
        self.history: dict[str, list[float]] = {}
        self.best: list[np.ndarray] = []
        self.diverged: str | None = None

    @property
    def epochs(self) -> int:
        return len(self.history.get("loss", []))

    @property
    def best_epoch(self) -> int:
        """0-based: the first with the highest validation accuracy, or of those the one with the lowest loss."""
        accuracies, losses = self.history["val_accuracy"], self.history["val_loss"]
        by_loss = self._config.tie_by_loss
        return max(range(self.epochs), key=lambda epoch: (accuracies[epoch], -losses[epoch] if by_loss else 0))

    @property
    def finished(self) -> bool:
        """Whether `patience` epochs went by without a better one."""
        return 0 < self._config.patience < self.epochs - self.best_epoch if self.epochs else False

    def resume(self, model: keras.Model, saved: Checkpoint) -> None:
        """Puts a run back to where a checkpoint left it.

        Raises:
            CheckpointError: it is of another model.
        """
        if [tuple(variable.shape) for variable in _state(model)] != [values.shape for values in saved.state]:
            raise CheckpointError(
                f"{self._directory}: its weights are not those of the model that {self._config.model} builds now. "
                "Begin a new run with --fresh."
            )
        self.history, self.best = saved.history, saved.best
        for variable, values in zip(_state(model), saved.state, strict=True):
            variable.assign(values)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if not np.isfinite(list(logs.values())).all():
            rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            self.diverged = (
                f"The loss became NaN or infinite in epoch {epoch + 1} of {self._config.epochs}, at a learning rate "
                f"of {rate:.3g} (`--learning-rate` is {self._config.learning_rate:g})."
            )
            self.model.stop_training = True
            return
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.best_epoch == epoch:
            self.best = self.model.get_weights()
        if self._keeps:
            state = [ops.convert_to_numpy(variable) for variable in _state(self.model)]
            checkpoint.write(self._directory, Checkpoint(self.history, state, self.best, self._data))
        if self.finished:
            self.model.stop_training = True


def _state(model: keras.Model) -> list[Any]:
    """Every variable that training changes: weights, dropout's seeds, the optimizer's moments and step."""
    return [*model.variables, *model.optimizer.variables]
