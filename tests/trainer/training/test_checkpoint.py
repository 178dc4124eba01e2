"""A killed run goes on where it was, bit for bit, and nothing half-written is taken for whole."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import ROOT, SAMPLE
from trainer.config import RunOptions, TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.run import directory_for
from trainer.training import checkpoint
from trainer.training.checkpoint import Checkpoint, CheckpointError
from trainer.training.fit import train

pytestmark = pytest.mark.tensorflow

# A training as the command line does it, up to the kept weights; evaluation and push would only take time here.
TRAINING = """
import sys
from pathlib import Path
import tensorflow as tf
from trainer.config import RunOptions, TrainConfig
from trainer.data.load import load
from registry.disk import write_json
from trainer.run import directory_for
from trainer.training.fit import train

config = TrainConfig(dataset=sys.argv[1], model="deep", epochs=14, batch_size=16, shift=1, deterministic=True)
tf.config.experimental.enable_op_determinism()
dataset = load(config.dataset, Path("unused"))
with directory_for(config, dataset.sha256, RunOptions(Path(sys.argv[2]))) as directory:
    write_json(directory / "config.json", config.asdict())
    train(config, dataset, directory)
"""


def start(artifacts: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, f"idx:{SAMPLE}", str(artifacts)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def weights(artifacts: Path) -> list[np.ndarray]:
    (directory,) = (artifacts / "runs").iterdir()
    return keras.saving.load_model(directory / "model.keras", compile=False).get_weights()


def kill_while_training(process: subprocess.Popen, epoch: int, delay: float) -> None:
    for line in process.stdout:
        if f"Epoch {epoch}/" in line:
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = start(tmp_path / "unbroken")
    out, _ = unbroken.communicate(timeout=900)
    assert unbroken.returncode == 0, out
    chance = random.Random(4)
    for epoch in (2, 5):
        kill_while_training(start(tmp_path / "broken"), epoch, chance.uniform(0, 0.3))
    last = start(tmp_path / "broken")
    out, _ = last.communicate(timeout=900)
    assert last.returncode == 0, out
    assert "Resuming after epoch" in out
    for ours, theirs in zip(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


DATA = "ab" * 32  # SHA-256 of what the checkpoints below were trained on


def filled(epochs: int) -> Checkpoint:
    return Checkpoint({"loss": [1.0] * epochs}, [np.arange(1000) + epochs], [np.arange(3)], DATA)


def test_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for epochs in (1, 2, 3):
        checkpoint.write(tmp_path, filled(epochs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00002.npz", "epoch-00003.npz"]
    found = checkpoint.newest(tmp_path)
    assert found.epochs == 3
    np.testing.assert_array_equal(found.state[0], filled(3).state[0])


def test_whatever_damages_a_checkpoint_it_is_named_and_the_one_before_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.write(tmp_path, filled(1))
    checkpoint.write(tmp_path, Checkpoint({"loss": [1.0, 1.0]}, [np.arange(3), np.arange(2)], [np.arange(3)]))
    path = tmp_path / "epoch-00002.npz"
    whole = path.read_bytes()
    chance = random.Random(0)
    flipped = [
        whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
        for place in range(len(whole))
    ]
    cut = [whole[:length] for length in range(0, len(whole), 7)]
    zeroed = [whole[:place] + bytes(len(whole[place : place + 64])) + whole[place + 64 :] for place in range(0, 999, 9)]
    for content in [*flipped, *cut, *zeroed, whole + whole, whole + b"\0"]:
        if content == whole:
            continue
        path.write_bytes(content)
        assert checkpoint.newest(tmp_path).epochs == 1
        assert f"{path} is damaged" in capsys.readouterr().out
    path.write_bytes(whole)
    assert checkpoint.newest(tmp_path).epochs == 2


def test_a_training_that_begins_anew_after_damage_keeps_its_own_checkpoints(tmp_path: Path) -> None:
    for epoch in (3, 4):
        checkpoint.write(tmp_path, filled(epoch))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.newest(tmp_path) is None
    for epoch in (1, 2):
        checkpoint.write(tmp_path, filled(epoch))
        assert checkpoint.newest(tmp_path).epochs == epoch
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_without_a_whole_checkpoint_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = interrupted(tmp_path, TrainConfig())
    (path,) = (directory / "checkpoint").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="expected a checkpoint there that is whole"):
        checkpoint.resumable(directory, {})
    assert f"{path} is damaged" in capsys.readouterr().out
    with directory_for(TrainConfig(), DATA, RunOptions(tmp_path)) as found:
        assert found != directory


def test_a_kill_in_the_middle_of_a_checkpoint_write_leaves_the_one_before(tmp_path: Path) -> None:
    # The system kills a process that writes more than its limit: here after a tenth of the second checkpoint.
    script = (
        "import resource, signal, sys, numpy as np; from pathlib import Path\n"
        "from trainer.training import checkpoint as c\n"
        "state = [np.random.default_rng(0).random(200_000)]\n"
        "c.write(Path(sys.argv[1]), c.Checkpoint({'loss': [0.0]}, state, [], 'data'))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (160_000, 160_000))\n"
        "c.write(Path(sys.argv[1]), c.Checkpoint({'loss': [0.0] * 2}, state, [], 'data'))\n"
    )
    folder = tmp_path / "checkpoint"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, timeout=300)
    assert done.returncode == -signal.SIGXFSZ
    assert (folder / ".epoch-00002.npz").stat().st_size == 160_000
    assert checkpoint.newest(folder).epochs == 1


def interrupted(artifacts: Path, config: TrainConfig) -> Path:
    directory = artifacts / "runs" / f"20260101-000000-{config.model}"
    (directory / "checkpoint").mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config.asdict()))
    checkpoint.write(directory / "checkpoint", filled(1))
    return directory


def test_an_interrupted_run_is_found_by_its_config(tmp_path: Path) -> None:
    directory = interrupted(tmp_path, TrainConfig())
    with directory_for(TrainConfig(), DATA, RunOptions(tmp_path)) as found:
        assert found == directory
    with directory_for(TrainConfig(seed=1), DATA, RunOptions(tmp_path)) as found:
        assert found != directory
    with directory_for(TrainConfig(), DATA, RunOptions(tmp_path, fresh=True)) as found:
        assert found != directory


def test_what_a_killed_run_had_begun_to_export_is_removed_when_it_goes_on(tmp_path: Path) -> None:
    directory = interrupted(tmp_path, TrainConfig())
    (directory / ".candidate-x" / "1").mkdir(parents=True)
    (directory / ".model.keras").write_text("half a model")
    with directory_for(TrainConfig(), DATA, RunOptions(tmp_path)) as found:
        assert found == directory
        assert sorted(path.name for path in directory.iterdir()) == ["checkpoint", "config.json"]


def test_a_run_is_not_resumed_over_other_data(
    tmp_path: Path, sample: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = interrupted(tmp_path, TrainConfig())
    with directory_for(TrainConfig(), "cd" * 32, RunOptions(tmp_path)) as found:
        assert found != directory
    assert f"{directory} was interrupted, but it was trained on other data" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="was trained on other data than there is now"):
        train(TrainConfig(), sample, directory)


def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path: Path) -> None:
    directory = interrupted(tmp_path, TrainConfig())
    options = RunOptions(tmp_path)
    with directory_for(TrainConfig(), DATA, options) as first, directory_for(TrainConfig(), DATA, options) as second:
        assert first == directory
        assert second != directory
        with (
            pytest.raises(CheckpointError, match="another process works on this run"),
            directory_for(TrainConfig(), DATA, RunOptions(tmp_path, resume=directory)),
        ):
            pass
    with directory_for(TrainConfig(), DATA, RunOptions(tmp_path, resume=directory)) as again:
        assert again == directory


def test_resuming_with_another_config_says_which_field_differs(tmp_path: Path) -> None:
    directory = interrupted(tmp_path, TrainConfig(batch_size=64))
    with pytest.raises(CheckpointError, match="batch_size is 64 there, 32 was asked for"):
        checkpoint.resumable(directory, {"batch_size": 32, "model": "basic"})
    assert checkpoint.resumable(directory, {"model": "basic"}) == TrainConfig()


def test_a_finished_run_cannot_be_resumed(artifacts: Path) -> None:
    (directory,) = (artifacts / "runs").iterdir()
    with pytest.raises(CheckpointError, match="the run is finished"):
        checkpoint.resumable(directory, {})
