"""The service follows the registry: what is swapped, what is refused, and what is left behind."""

import gc
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.card import ModelCard
from registry.store import ModelStore
from serving.model import ModelError, Served
from serving.reload import Follower


@pytest.fixture
def store(tmp_path: Path, card: ModelCard) -> ModelStore:
    store = ModelStore(tmp_path, card.name)
    push(store, card)
    return store


def push(store: ModelStore, card: ModelCard) -> int:
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"graph")
        return store.publish(staged, card)


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def follower(served: Served, store: ModelStore, predictor: Any) -> Follower:
    follower = Follower(served, store, lambda path, version: replace(predictor, version=version))
    follower.start()
    gc.unfreeze()  # the tests that come later want their garbage collected
    return follower


def test_a_newer_version_is_swapped_in(follower: Follower, served: Served, store: ModelStore, card: ModelCard) -> None:
    assert served.predictor().version == 1
    follower.look()
    assert served.predictor().version == 1
    push(store, card)
    follower.look()
    assert served.predictor().version == 2
    assert served.load_seconds > 0


def test_a_pin_leads_back_and_its_end_forth(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    push(store, card)
    store.pin(1)
    follower.look()
    assert served.predictor().version == 1
    store.unpin()
    follower.look()
    assert served.predictor().version == 2


def test_a_damaged_version_is_reported_once_and_the_old_one_goes_on(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    push(store, card)
    (store.path(2) / "saved_model.pb").write_bytes(b"other")
    for _ in range(3):
        follower.look()
    assert served.predictor().version == 1
    assert served.failures == {2: f"{store.path(2)} is damaged: version 2: saved_model.pb has changed"}
    assert caplog.text.count("version 2 is not served") == 1
    assert "Traceback" not in caplog.text

    push(store, card)
    follower.look()
    assert served.predictor().version == 3


@pytest.mark.parametrize("error", [ModelError("it does not load"), MemoryError("no memory")])
def test_a_version_that_does_not_load_may_be_tried_again_after_another(
    served: Served, store: ModelStore, card: ModelCard, predictor: Any, error: Exception
) -> None:
    broken = True

    def load(path: Path, version: int) -> Any:
        if version == 2 and broken:
            raise error
        return replace(predictor, version=version)

    follower = Follower(served, store, load)
    follower.start()
    gc.unfreeze()
    push(store, card)
    follower.look()
    assert (served.predictor().version, served.failures) == (1, {2: str(error)})
    broken = False
    follower.look()
    assert served.predictor().version == 1
    store.pin(1)
    follower.look()
    store.unpin()
    follower.look()
    assert (served.predictor().version, served.failures) == (2, {})


def test_a_broken_pin_and_a_vanished_directory_change_nothing(
    follower: Follower, served: Served, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    (store.directory / "pinned").write_text("nine")
    for _ in range(2):
        follower.look()
    assert caplog.text.count("the served version stays: ") == 1
    shutil.rmtree(store.directory)
    follower.look()
    assert served.predictor().version == 1


def test_nothing_holds_the_old_version_when_it_is_replaced(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    old = weakref.ref(served.predictor())
    push(store, card)
    follower.look()
    assert old() is None
