"""A worker and a chief over loopback: trials are trained by the trainer, and go on from their last epoch."""

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_tuner.engine.trial import Trial

from tests.conftest import SAMPLE
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.training import checkpoint
from trainer.training.fit import train
from tuning import tuner
from tuning.oracles import ORACLES, SavedOracle
from tuning.space import Search, SearchError
from tuning.trials import SCORE, Record

pytestmark = pytest.mark.tensorflow

BASE = TrainConfig(dataset=f"idx:{SAMPLE}", model="basic", optimizer="momentum", learning_rate=0.03, batch_size=32)
Work = Callable[..., list[Record]]


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def work(sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Has a worker do all trials of a search in `tmp_path`, and returns them."""

    def work(search: Search, logs: Path | None = None) -> list[Record]:
        oracle = ORACLES[search.algorithm](search, tmp_path / "oracle.json", key=search.key(sample.sha256))
        tuner.start_chief(search, oracle, tmp_path)
        while not listens(int(os.environ["KERASTUNER_ORACLE_PORT"])):  # until then the chief reads its environment
            time.sleep(0.05)
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
        tuner.work(search, sample, tmp_path, logs)
        return oracle.finished

    for name in ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    return work


def test_each_trial_is_trained_and_leaves_only_its_record(work: Work, tmp_path: Path) -> None:
    finished = work(Search(BASE, fixed=("model", "optimizer"), trials=2, epochs=2))
    assert [record.status for record in finished] == ["COMPLETED", "COMPLETED"]
    for record in finished:
        assert len(record.history) == 2
        assert record.score == max(record.history)
    assert list((tmp_path / "trials").iterdir()) == []


def test_what_another_search_left_by_the_same_number_is_not_taken(
    work: Work, sample: ImageDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=2)
    other = replace(BASE, learning_rate=0.123, epochs=2)
    directory = tmp_path / "trials" / f"0-{other.fingerprint()}"
    directory.mkdir(parents=True)
    train(other, sample, directory)
    (record,) = work(search)
    assert len(record.history) == 2
    assert "Going on" not in capsys.readouterr().out


def test_an_interrupted_trial_goes_on_from_its_last_epoch(
    work: Work, sample: ImageDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=3)
    values = ORACLES["bayesian"](search, tmp_path / "other.json").create_trial("tuner0").hyperparameters.values
    directory = tmp_path / "trials" / f"0-{search.config(values, 0).fingerprint()}"
    directory.mkdir(parents=True)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(stop.model, "stop_training", True))
    begun = train(search.config(values, 0), sample, directory, [stop]).history[SCORE]
    assert len(begun) == 1
    (record,) = work(search)
    assert record.history[:1] == begun
    assert len(record.history) == 3
    assert "Resuming after epoch 1" in capsys.readouterr().out


def weights(directory: Path) -> list[np.ndarray]:
    return checkpoint.newest(directory / "checkpoint").state


def test_hyperband_carries_a_training_on_as_if_it_had_not_stopped(
    work: Work, sample: ImageDataset, tmp_path: Path
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), algorithm="hyperband", trials=4, epochs=3)
    finished = work(search)
    assert [len(record.history) for record in finished] == [1, 1, 1, 3]
    promoted = finished[-1]
    (carried_on,) = (tmp_path / "trials").glob(f"{promoted.number}-*")
    train(search.config(promoted.values, promoted.number), sample, tmp_path)
    pairs = zip(weights(carried_on), weights(tmp_path), strict=True)
    # Threads may add up floats in another order; a lost momentum would change weights by hundreds of times as much.
    assert all(np.allclose(one, other, atol=1e-4) for one, other in pairs)


def test_a_trial_that_diverges_fails_and_the_next_one_is_trained(work: Work) -> None:
    # At such a rate the deep model's loss overflows, and the basic one's does not.
    search = Search(replace(BASE, learning_rate=10.0), fixed=("learning_rate", "optimizer"), trials=2, epochs=3)
    found = {record.values["model"]: record for record in work(search)}
    assert found["deep"].status == "FAILED"
    assert found["deep"].message == "the loss is no longer a number"
    assert found["basic"].status == "COMPLETED"


def test_a_worker_without_a_chief_ends_with_what_it_looked_for(
    sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "9")  # the discard port: nothing answers
    with pytest.raises(SearchError, match=r"Expected a chief at 127\.0\.0\.1:9"):
        tuner.work(Search(BASE), sample, tmp_path, timeout=0.2)


def test_logs_for_tensorboard_are_written_on_request(work: Work, tmp_path: Path) -> None:
    work(Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=1), tmp_path / "logs")
    (events,) = (tmp_path / "logs" / "0").glob("events*")
    assert b"learning_rate" in events.read_bytes()


def test_a_worker_begins_anew_after_a_few_trials(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    class BegunAnewError(Exception):
        pass

    def execv(program: str, arguments: list[str]) -> None:
        assert (program, arguments) == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
        raise BegunAnewError

    monkeypatch.setattr(tuner, "TRIALS_PER_PROCESS", 1)
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(BegunAnewError):
        work(Search(BASE, fixed=("model", "optimizer"), trials=2, epochs=1))


def test_an_error_that_is_no_result_ends_the_worker(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/data")

    monkeypatch.setattr(tuner, "train", full)
    with pytest.raises(OSError, match="No space left on device: '/data'"):
        work(Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=1))


def test_patience_ends_a_trial_too(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(replace(BASE, learning_rate=1e-7, patience=1), fixed=("learning_rate", "optimizer"), trials=1)
    (record,) = work(replace(search, epochs=40))
    assert record.stopped
    assert len(record.history) < 40


def test_a_port_that_is_taken_is_named(work: Work, tmp_path: Path) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=1)
    work(search)
    taken = os.environ["KERASTUNER_ORACLE_PORT"]
    with pytest.raises(SearchError, match=f"Cannot listen on 127.0.0.1:{taken}"):
        tuner.start_chief(search, ORACLES["random"](search, tmp_path / "other.json"), tmp_path)


@pytest.fixture
def chief_of(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SavedOracle]:
    """Starts the chief of a search, and makes this process a worker of it."""

    def start(search: Search, sample: ImageDataset) -> SavedOracle:
        oracle = ORACLES[search.algorithm](search, tmp_path / f"{search.space}.json", key=search.key(sample.sha256))
        tuner.start_chief(search, oracle, tmp_path)
        while not listens(int(os.environ["KERASTUNER_ORACLE_PORT"])):
            time.sleep(0.05)
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
        return oracle

    return start


def fresh_oracle(search: Search, sample: ImageDataset, directory: Path) -> SavedOracle:
    """That of the same command with --fresh."""
    return ORACLES[search.algorithm](search, directory / "fresh.json", key=search.key(sample.sha256))


def test_a_worker_with_other_options_than_its_chief_ends_before_it_trains(
    chief_of: Callable[..., SavedOracle], sample: ImageDataset, tmp_path: Path
) -> None:
    oracle = chief_of(Search(BASE, space="full"), sample)
    with pytest.raises(SearchError, match="has other options or other data than this worker"):
        tuner.work(Search(BASE), sample, tmp_path)
    assert not (tmp_path / "trials").exists()
    assert oracle.finished == []
    assert oracle.create_trial("tuner1").trial_id.startswith("00-"), "the worker still holds its trial"


def test_a_worker_whose_chief_began_another_search_meanwhile_ends_and_its_reports_are_ignored(
    chief_of: Callable[..., SavedOracle], sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=2)
    oracle, fresh = chief_of(search, sample), fresh_oracle(search, sample, tmp_path)
    fresh.create_trial("tuner1")  # it has a trial of the same number
    create, begun = oracle.create_trial, []

    def another_begins(tuner_id: str) -> Trial:
        begun.append(create(tuner_id))
        monkeypatch.setattr(oracle, "update_trial", fresh.update_trial)
        return begun[-1]

    monkeypatch.setattr(oracle, "create_trial", another_begins)
    with pytest.raises(SearchError, match="The chief's search is another one now"):
        tuner.work(search, sample, tmp_path)
    assert len(begun) == 1
    for each in (*oracle.trials.values(), *fresh.trials.values()):
        assert not each.metrics.exists(SCORE)


def test_a_worker_whose_chief_began_another_search_between_two_trials_ends(
    chief_of: Callable[..., SavedOracle], sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=2, epochs=1)
    oracle, fresh = chief_of(search, sample), fresh_oracle(search, sample, tmp_path)
    end = oracle.end_trial

    def another_begins(trial: Trial) -> None:
        end(trial)
        for name in ("create_trial", "end_trial"):
            monkeypatch.setattr(oracle, name, getattr(fresh, name))

    monkeypatch.setattr(oracle, "end_trial", another_begins)
    with pytest.raises(SearchError, match="The chief's search is another one now"):
        tuner.work(search, sample, tmp_path)
    assert len(oracle.finished) == 1
    assert fresh.finished == []


def test_an_error_of_the_chief_is_not_said_to_be_silence(
    chief_of: Callable[..., SavedOracle], sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = chief_of(Search(BASE), sample)
    monkeypatch.setattr(oracle, "create_trial", lambda _: {}["00"])
    with pytest.raises(SearchError, match=r"^The chief at 127\.0\.0\.1:\d+ failed: .*'00'\.$"):
        tuner.work(Search(BASE), sample, tmp_path)
