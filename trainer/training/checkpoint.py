"""The state of a run after each epoch, on disk, so that a killed run resumes as if it had not been interrupted.

A checkpoint is one .npz file followed by the SHA-256 of its bytes; the two newest are kept. What
else a resumed run needs (shuffling, augmentation) is a function of (seed, epoch).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry.disk import write_whole
from trainer.config import TrainConfig

KEPT = 2
NAME = "model_name.txt"  # in a run's directory
_DIGEST_BYTES = hashlib.sha256().digest_size
_FILE = re.compile(r"epoch-(\d{5})\.npz")


class CheckpointError(ValueError):
    """A run that cannot be resumed; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run knows after an epoch.

    Attributes:
        history: one value an epoch of each metric; its length is the number of finished epochs.
        state: every variable of the model and the optimizer, in their order.
        best: the weights of the best epoch.
        data: SHA-256 of the images and labels that it was trained on.
    """

    history: dict[str, list[float]]
    state: list[np.ndarray]
    best: list[np.ndarray]
    data: str = ""

    @property
    def epochs(self) -> int:
        return len(self.history["loss"])


def write(directory: Path, checkpoint: Checkpoint) -> None:
    """Adds a run's checkpoint and removes those that are too old, and damaged ones of later epochs."""
    directory.mkdir(exist_ok=True)
    arrays = {f"state{index}": values for index, values in enumerate(checkpoint.state)}
    arrays["history"] = np.array(json.dumps(checkpoint.history))
    arrays["data"] = np.array(checkpoint.data)
    arrays |= {f"best{index}": values for index, values in enumerate(checkpoint.best)}
    target = directory / f"epoch-{checkpoint.epochs:05}.npz"
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    content.seek(0, io.SEEK_END)
    content.write(_digest(content.getbuffer()))
    write_whole(target, content.getbuffer())
    whole = [path for path in _paths(directory) if path.name <= target.name]
    for other in set(_paths(directory)) - set(whole[:KEPT]):
        other.unlink()


def newest(directory: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, None if there is none; a damaged one is named on the terminal."""
    for path in _paths(directory):
        try:
            return _read(path)
        except (OSError, ValueError) as error:
            print(f"The checkpoint {path} is damaged ({error}); it is not used.", flush=True)
    return None


@contextmanager
def claimed(directory: Path) -> Iterator[bool]:
    """Whether this process has the directory to itself until the end of the block.

    Another process that has it holds a lock, which the system releases when that process ends.
    """
    handle = os.open(directory, os.O_RDONLY)  # the directory itself is locked, so that no file is left over
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


@contextmanager
def unfinished(runs: Path, config: TrainConfig, data: str) -> Iterator[Path | None]:
    """The newest interrupted run of the same config on the same data, claimed until the end of the block.

    Args:
        runs: the directory of all runs.
        config: of the run.
        data: SHA-256 of the images and labels.
    """
    for directory in sorted(runs.glob("*/"), reverse=True):
        if not _is_unfinished(directory, config):
            continue
        with claimed(directory) as free:
            # Asked again, because the process that had it may have finished it since.
            if free and _is_unfinished(directory, config) and (saved := newest(directory / "checkpoint")):
                if saved.data == data:
                    yield directory
                    return
                print(f"{directory} was interrupted, but it was trained on other data; not resuming it.", flush=True)
    yield None


def config_of(directory: Path) -> TrainConfig:
    """The config of a run.

    Raises:
        CheckpointError: the directory holds no config that this version of the project reads.
    """
    try:
        return TrainConfig(**json.loads((directory / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{directory}: expected a run with a readable config.json there ({reason}). Runs are in {directory.parent}."
        ) from error


def name_of(directory: Path) -> str | None:
    """The name of the model that a run makes; None where the run names none, such as one of an earlier version."""
    try:
        return (directory / NAME).read_text("utf-8") or None
    except FileNotFoundError:
        return None


def resumable(directory: Path, options: dict[str, Any]) -> TrainConfig:
    """The config of an interrupted run, checked: it can be resumed, and `options` do not contradict it.

    Raises:
        CheckpointError: there is no checkpoint that is whole, or an option differs from the run's; says which.
    """
    config = config_of(directory)
    if not newest(directory / "checkpoint"):
        raise CheckpointError(
            f"{directory}: expected a checkpoint there that is whole; the run is finished, or has to start over."
        )
    differing = [
        f"{name} is {getattr(config, name)} there, {value} was asked for"
        for name, value in options.items()
        if getattr(config, name) != value
    ]
    if differing:
        raise CheckpointError(f"{directory} was made with another config: {'; '.join(differing)}.")
    return config


def _is_unfinished(directory: Path, config: TrainConfig) -> bool:
    try:
        return bool(_paths(directory / "checkpoint")) and config_of(directory) == config
    except CheckpointError:  # a run of another version of the project
        return False


def _paths(directory: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted((path for path in directory.glob("*.npz") if _FILE.fullmatch(path.name)), reverse=True)


def _read(path: Path) -> Checkpoint:
    content = memoryview(path.read_bytes())
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if _digest(content) != digest:
        raise ValueError("its content does not have its SHA-256")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        groups = {
            group: [arrays[f"{group}{index}"] for index in range(sum(name.startswith(group) for name in arrays.files))]
            for group in ("state", "best")
        }
        return Checkpoint(json.loads(str(arrays["history"])), **groups, data=str(arrays["data"]))


def _digest(content: memoryview) -> bytes:
    return hashlib.sha256(content).digest()
