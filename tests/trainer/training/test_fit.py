"""Training keeps the best epoch, stops where it should, and keeps what Ctrl-C interrupts."""

import csv
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT, SAMPLE
from trainer import run
from trainer.config import MODELS, TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.evaluation.metrics import evaluate
from trainer.training import checkpoint
from trainer.training.fit import train
from trainer.training.progress import Progress

pytestmark = pytest.mark.tensorflow

QUICK = TrainConfig(optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=4)


def ruin_before(epoch: int) -> keras.callbacks.Callback:
    """Sets all weights to zero before this epoch, counted from 1: such a network learns nothing any more."""

    def ruin(begun: int, logs: object) -> None:
        if begun == epoch - 1:
            callback.model.set_weights([np.zeros_like(each) for each in callback.model.get_weights()])

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=ruin)
    return callback


def test_the_weights_kept_are_those_of_the_best_epoch(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(QUICK, sample, tmp_path, [ruin_before(QUICK.epochs)])
    accuracies = result.history["val_accuracy"]
    assert result.best_epoch == int(np.argmax(accuracies)) < len(accuracies) - 1
    measured = evaluate(result.model, sample.validation, 10).accuracy
    assert measured == pytest.approx(max(accuracies)) == pytest.approx(result.validation_accuracy)


def test_the_run_directory_holds_that_model_and_every_epoch(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(QUICK, sample, tmp_path)
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    images = sample.test.images[:8]
    np.testing.assert_array_equal(saved.predict(images, verbose=0), result.model.predict(images, verbose=0))
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["val_accuracy"]) for row in rows] == result.history["val_accuracy"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]


def test_of_epochs_with_equal_accuracy_the_loss_can_decide(tmp_path: Path) -> None:
    history = {"loss": [3.0, 2.0, 1.0], "val_accuracy": [0.5, 1.0, 1.0], "val_loss": [0.9, 0.4, 0.3]}
    for tie_by_loss, best in ((False, 1), (True, 2)):
        progress = Progress(TrainConfig(tie_by_loss=tie_by_loss), "", tmp_path)
        progress.history = history
        assert progress.best_epoch == best


def test_class_weights_make_a_rare_class_count(sample: ImageDataset, tmp_path: Path) -> None:
    rare = (sample.train.labels == 0) | ((sample.train.labels == 1) & (np.cumsum(sample.train.labels == 1) <= 2))
    unbalanced = replace(sample, train=sample.train[rare])
    losses = []
    for weights in (False, True):
        (directory := tmp_path / str(weights)).mkdir()
        result = train(replace(QUICK, epochs=1, class_weights=weights), unbalanced, directory)
        losses.append(result.history["loss"][0])
    plain, weighted = losses
    assert weighted > plain  # from the same weights, on the same images: those of the rare class count more


@pytest.mark.parametrize("model", MODELS)
def test_plain_keras_opens_the_saved_model_without_this_project(
    sample: ImageDataset, tmp_path: Path, model: str
) -> None:
    result = train(replace(QUICK, model=model, epochs=1), sample, tmp_path)
    images = sample.test.images[:8]
    np.save(tmp_path / "images.npy", images)
    script = (
        "import keras, numpy, sys\n"
        "loaded = keras.models.load_model('model.keras')\n"
        "numpy.save('logits.npy', loaded.predict(numpy.load('images.npy'), verbose=0))\n"
        "assert 'trainer' not in sys.modules\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "logits.npy"), result.model.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )


def test_patience_1_is_the_papers_algorithm_1(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(replace(QUICK, learning_rate=0.03, epochs=30, patience=1), sample, tmp_path)
    accuracies = result.history["val_accuracy"]
    assert len(accuracies) < 30
    assert all(later > earlier for earlier, later in itertools.pairwise(accuracies[:-1]))
    assert accuracies[-1] <= accuracies[-2] == result.validation_accuracy


def test_the_first_of_equally_good_epochs_is_kept_and_patience_counts_from_it(
    sample: ImageDataset, tmp_path: Path
) -> None:
    # At such a rate no prediction changes: every epoch is as good as the first.
    result = train(replace(QUICK, optimizer="sgd", learning_rate=1e-9, epochs=9, patience=2), sample, tmp_path)
    assert len(set(result.history["val_accuracy"])) == 1
    assert result.best_epoch == 0
    assert len(result.history["val_accuracy"]) == 3


def test_a_validation_loss_that_is_nan_ends_the_training(sample: ImageDataset, tmp_path: Path) -> None:
    def diverge(_: object) -> None:
        if (tmp_path / "checkpoint").exists():  # the first epoch has ended well
            callback.model.set_weights([np.full_like(each, np.nan) for each in callback.model.get_weights()])

    callback = keras.callbacks.LambdaCallback()
    callback.on_test_begin = diverge
    result = train(replace(QUICK, epochs=9), sample, tmp_path, [callback])
    assert "in epoch 2 of 9" in result.diverged
    assert len(result.history["val_loss"]) == 1


def stop_after(epochs: int) -> keras.callbacks.Callback:
    """Ends a training after so many epochs, as an interruption would."""

    def stop(epoch: int, logs: object) -> None:
        callback.model.stop_training = epoch + 1 >= epochs

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    return callback


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_two_epochs_and_two_after_an_interruption_are_four(
    sample: ImageDataset, tmp_path: Path, optimizer: str
) -> None:
    # The rate follows the optimizer's count of steps, and the moments carry over: both must outlive the interruption.
    rate = {"momentum": 0.02, "adamw": 1e-3}[optimizer]
    config = replace(QUICK, optimizer=optimizer, learning_rate=rate, schedule="cosine", shift=1)
    for name in ("unbroken", "broken"):
        (tmp_path / name).mkdir()
    unbroken = train(config, sample, tmp_path / "unbroken")
    assert len(train(config, sample, tmp_path / "broken", [stop_after(2)]).history["loss"]) == 2
    resumed = train(config, sample, tmp_path / "broken")
    assert resumed.history["loss"] == pytest.approx(unbroken.history["loss"], rel=1e-4)
    one, other = (checkpoint.newest(tmp_path / name / "checkpoint").state for name in ("unbroken", "broken"))
    for ours, theirs in zip(one, other, strict=True):
        # Threads may add up floats in another order; what is lost with the optimizer's state is a hundred times that.
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_resumed_training_keeps_the_best_weights_from_before_the_interruption(
    sample: ImageDataset, tmp_path: Path
) -> None:
    config = replace(QUICK, epochs=3)
    begun = train(config, sample, tmp_path, [ruin_before(2), stop_after(2)])
    resumed = train(config, sample, tmp_path)
    first, *later = resumed.history["val_accuracy"]
    assert len(later) == 2
    assert begun.best_epoch == resumed.best_epoch == 0
    assert max(later) < first
    assert evaluate(resumed.model, sample.validation, 10).accuracy == pytest.approx(first)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
def test_every_optimizer_learns(sample: ImageDataset, tmp_path: Path, optimizer: str) -> None:
    rate = {"sgd": 0.1, "momentum": 0.02}.get(optimizer, 2e-3)
    result = train(replace(QUICK, optimizer=optimizer, learning_rate=rate, batch_size=16), sample, tmp_path)
    assert result.validation_accuracy > 0.25  # guessing gets 0.1


def test_label_smoothing_and_dropout_still_learn(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(replace(QUICK, label_smoothing=0.1, dropout=0.2, epochs=6), sample, tmp_path)
    assert result.validation_accuracy > 0.25


def test_the_seed_decides_the_result(sample: ImageDataset, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "other")]
    for folder in folders:
        folder.mkdir()
    first, second, other = (
        train(replace(QUICK, seed=seed), sample, folder).history
        for seed, folder in zip((1, 1, 2), folders, strict=True)
    )
    # Threads add up floats in another order, which later epochs magnify.
    assert first["loss"][:2] == pytest.approx(second["loss"][:2], rel=1e-3)
    assert first["loss"][:2] != pytest.approx(other["loss"][:2], rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_control_c_keeps_the_best_weights_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainer", "--dataset", f"idx:{SAMPLE}", "--model", "basic", "--epochs", "10000"]
    with subprocess.Popen(
        [*command, "--artifacts", str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if "Epoch 4/" in line:
                    break
            process.send_signal(signal.SIGINT)
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                # Python drops an interruption that falls into a callback of its garbage collector.
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130, err
    (message,) = [line for line in err.splitlines() if line]
    assert message.startswith("error: Interrupted after ")
    assert "the best weights so far" in message
    assert "Traceback" not in out + err
    (directory,) = (tmp_path / "runs").iterdir()
    assert keras.saving.load_model(directory / "model.keras", compile=False).count_params() == 402_986
    assert not (tmp_path / "models").exists()
    assert list((directory / "checkpoint").glob("*.npz"))


def test_tensorboard_s_logs_hold_every_epoch(sample: ImageDataset, tmp_path: Path) -> None:
    result = train(QUICK, sample, tmp_path, run.tensorboard_callbacks(tmp_path))
    (log,) = (tmp_path / "tensorboard" / "train").glob("events.*")
    tags = [value.tag for event in tf.compat.v1.train.summary_iterator(str(log)) for value in event.summary.value]
    assert tags.count("epoch_loss") == len(result.history["loss"])
