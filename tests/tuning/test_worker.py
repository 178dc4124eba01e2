"""A worker and a chief over loopback: trials are trained by the trainer, and go on from their last epoch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import SAMPLE
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.training import checkpoint
from trainer.training.fit import train
from tuning import worker
from tuning.journal import Journal, SearchError
from tuning.oracles import build_oracle
from tuning.recorded import SCORE
from tuning.search import chief
from tuning.space import Search

pytestmark = pytest.mark.tensorflow

BASE = TrainConfig(dataset=f"idx:{SAMPLE}", model="basic", optimizer="momentum", learning_rate=0.03, batch_size=32)
Work = Callable[[Search], Journal]


@pytest.fixture
def work(sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Lets a worker do all trials of a search, with `tmp_path` for their folder."""

    def work(search: Search) -> Journal:
        journal = Journal(tmp_path / "trials.jsonl")
        with chief(build_oracle(search, journal), "127.0.0.1:0") as port:
            monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
            monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
            monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
            worker.work(search, sample, tmp_path / "trials")
        return journal

    return work


def test_each_trial_is_trained_and_leaves_only_its_record(work: Work, tmp_path: Path) -> None:
    journal = work(Search(BASE, fixed=("model", "optimizer"), trials=2, epochs=2))
    assert [record.status for record in journal.finished] == ["COMPLETED", "COMPLETED"]
    for record in journal.finished:
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
    (record,) = work(search).finished
    assert len(record.history) == 2
    assert "Going on" not in capsys.readouterr().out


def test_an_interrupted_trial_goes_on_from_its_last_epoch(
    work: Work, sample: ImageDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=3)
    values = build_oracle(search, Journal(tmp_path / "other")).create_trial("tuner0").hyperparameters.values
    directory = tmp_path / "trials" / f"0-{search.config(values, 0).fingerprint()}"
    directory.mkdir(parents=True)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(stop.model, "stop_training", True))
    begun = train(search.config(values, 0), sample, directory, [stop]).history[SCORE]
    assert len(begun) == 1
    (record,) = work(search).finished
    assert record.history[:1] == begun
    assert len(record.history) == 3
    assert "Going on after epoch 1" in capsys.readouterr().out


def weights(directory: Path) -> list[np.ndarray]:
    return checkpoint.newest(directory / "checkpoint").state


def test_hyperband_carries_a_training_on_as_if_it_had_not_stopped(
    work: Work, sample: ImageDataset, tmp_path: Path
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), algorithm="hyperband", trials=4, epochs=3)
    journal = work(search)
    assert [len(record.history) for record in journal.finished] == [1, 1, 1, 3]
    promoted = journal.finished[-1]
    (carried_on,) = (tmp_path / "trials").glob(f"{promoted.number}-*")
    train(search.config(promoted.values, promoted.number), sample, tmp_path)
    pairs = zip(weights(carried_on), weights(tmp_path), strict=True)
    # Threads may add up floats in another order; a lost momentum would change weights by hundreds of times as much.
    assert all(np.allclose(one, other, atol=1e-4) for one, other in pairs)


def test_a_trial_that_diverges_fails_and_the_next_one_is_trained(work: Work) -> None:
    # At such a rate the deep model's loss overflows, and the basic one's does not.
    search = Search(replace(BASE, learning_rate=10.0), fixed=("learning_rate", "optimizer"), trials=2, epochs=3)
    found = {record.values["model"]: record for record in work(search).finished}
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
        worker.work(Search(BASE), sample, tmp_path, patience=0.2)


def test_logs_for_tensorboard_are_written_on_request(
    sample: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(BASE, fixed=("model", "optimizer"), trials=1, epochs=1)
    with chief(build_oracle(search, Journal(tmp_path / "trials.jsonl")), "127.0.0.1:0") as port:
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        worker.work(search, sample, tmp_path / "trials", tmp_path / "logs")
    (events,) = (tmp_path / "logs" / "0").glob("events*")
    assert b"learning_rate" in events.read_bytes()
