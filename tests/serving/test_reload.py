"""The service follows the registry: what is swapped, what is refused, and what is left behind."""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.card import ModelCard
from registry.store import ModelStore
from serving.errors import NotReadyError
from serving.metrics import REGISTRY
from serving.model.follow import Follower
from serving.model.served import ModelError, Served, find
from serving.settings import Settings
from tests.serving.bridged import bridged


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


@dataclass
class Clock:
    """A clock that stands still until a test sets it forward."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Loader:
    """Loads every version but those in `broken`, each of which raises the error that is named there."""

    predictor: Any
    broken: dict[int, Exception] = field(default_factory=dict)
    loaded: list[int] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def __call__(self, path: Path, version: int) -> Any:
        self.loaded.append(version)
        self.meanwhile()
        if version in self.broken:
            raise self.broken[version]
        return replace(self.predictor, version=version)


@pytest.fixture
def loader(predictor: Any) -> Loader:
    return Loader(predictor)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(served: Served, store: ModelStore, loader: Loader, clock: Clock) -> Follower:
    """A follower that has not looked yet."""
    return Follower(served, lambda: store, loader, clock)


@pytest.fixture
def follower(waiting: Follower) -> Follower:
    """One that serves version 1."""
    waiting.poll()
    return waiting


def damage(store: ModelStore, version: int) -> None:
    (store.path(version) / "saved_model.pb").write_bytes(b"other")


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_newer_version_is_swapped_in(follower: Follower, served: Served, store: ModelStore, card: ModelCard) -> None:
    assert served.predictor().version == 1
    follower.poll()
    assert served.predictor().version == 1
    push(store, card)
    follower.poll()
    assert served.predictor().version == 2
    assert (metric("serving_model_load_seconds", model=card.name)) > 0


def test_a_pin_leads_back_and_its_end_forth(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    push(store, card)
    store.pin(1)
    follower.poll()
    assert served.predictor().version == 1
    store.unpin()
    follower.poll()
    assert served.predictor().version == 2


def test_a_damaged_version_is_reported_once_and_the_old_one_goes_on(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    failures = metric("serving_model_load_failures_total")
    push(store, card)
    damage(store, 2)
    for _ in range(3):
        follower.poll()
    assert served.predictor().version == 1
    assert served.failures == {2: f"{store.path(2)} is damaged: version 2: saved_model.pb has changed"}
    assert caplog.text.count("version 2 is not served") == 1
    assert "Traceback" not in caplog.text
    assert metric("serving_model_load_failures_total") == failures + 1
    assert metric("serving_model_version", model=card.name) == 1

    push(store, card)
    follower.poll()
    assert served.predictor().version == 3
    assert metric("serving_model_version", model=card.name) == 3


def test_a_version_with_the_card_of_another_model_is_not_served(
    served: Served, store: ModelStore, loader: Loader
) -> None:
    other = store.directory.rename(store.root / "shoes")
    Follower(served, lambda: ModelStore(store.root, "shoes"), loader).poll()
    assert served.failures == {1: f"{other / '1'} has the card of another model, fashion_mnist"}


def test_a_start_over_a_damaged_newest_version_serves_the_one_before(
    waiting: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    push(store, card), push(store, card)
    damage(store, 3)
    waiting.poll()
    assert served.predictor().version == 2
    assert list(served.failures) == [3]


def test_a_start_over_a_damaged_pinned_version_serves_the_newest(
    waiting: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    push(store, card), push(store, card)
    store.pin(1)
    damage(store, 1)
    waiting.poll()
    assert served.predictor().version == 3


def test_where_no_version_can_be_served_it_goes_on_looking(
    waiting: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    damage(store, 1)
    waiting.poll()
    assert not served.ready
    push(store, card)
    waiting.poll()
    assert served.predictor().version == 2


@pytest.mark.parametrize("error", [ModelError("it does not load"), MemoryError("no memory")])
def test_a_version_refused_for_a_passing_reason_is_tried_again_ever_more_rarely(
    follower: Follower,
    served: Served,
    store: ModelStore,
    card: ModelCard,
    loader: Loader,
    clock: Clock,
    error: Exception,
) -> None:
    loader.broken[2] = error
    push(store, card)
    attempts = []
    for clock.now in range(3600):
        follower.poll()
        if len(loader.loaded) > 1 + len(attempts):
            attempts.append(clock.now)
    assert (served.predictor().version, served.failures) == (1, {2: str(error)})
    assert attempts == [0, 5, 15, 35, 75, 155, 315, 635, 1275, 2555]
    loader.broken.clear()
    clock.now = 5115
    follower.poll()
    assert (served.predictor().version, served.failures) == (2, {})


@pytest.mark.parametrize("pin", ["nine", "1" * 5000, "7"])
def test_a_broken_pin_leaves_the_served_version_and_is_said_once(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard, caplog: pytest.LogCaptureFixture, pin: str
) -> None:
    failures = metric("serving_registry_read_failures_total")
    push(store, card)
    (store.directory / "pinned").write_text(pin)
    for _ in range(2):
        follower.poll()
    assert served.predictor().version == 1
    assert "Pin" in served.trouble
    assert caplog.text.count("the served version stays: ") == 1
    assert metric("serving_registry_read_failures_total") == failures + 2
    store.unpin()
    follower.poll()
    assert (served.predictor().version, served.trouble) == (2, "")


def test_a_start_with_a_broken_pin_serves_the_newest_and_says_so(
    waiting: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    push(store, card)
    (store.directory / "pinned").write_text("nine")
    waiting.poll()
    assert served.predictor().version == 2
    assert "must hold one version number" in served.trouble


def test_a_model_directory_that_is_away_leaves_the_served_version(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard, tmp_path: Path
) -> None:
    away = store.directory.rename(tmp_path / ".away")
    follower.poll()
    assert served.predictor().version == 1
    assert "no version of fashion_mnist" in served.trouble
    away.rename(store.directory)
    push(store, card)
    follower.poll()
    assert (served.predictor().version, served.trouble) == (2, "")


def test_a_start_while_the_model_directory_is_away_waits_for_it(
    served: Served, store: ModelStore, loader: Loader, tmp_path: Path
) -> None:
    away = store.directory.rename(tmp_path / ".away")
    follower = Follower(served, partial(find, Settings(models=tmp_path)), loader)
    follower.poll()
    assert not served.ready
    assert served.trouble.startswith(f"no model in {tmp_path}")
    away.rename(store.directory)
    follower.poll()
    assert (served.predictor().version, served.trouble) == (1, "")


def test_a_look_that_fails_in_an_unforeseen_way_is_not_the_last(
    follower: Follower,
    served: Served,
    store: ModelStore,
    card: ModelCard,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ModelStore, "served", lambda _: 1 / 0)
        follower.poll()
        follower.poll()
    assert served.trouble == "ZeroDivisionError: division by zero"
    assert caplog.text.count("Traceback") == 1
    push(store, card)
    follower.poll()
    assert (served.predictor().version, served.trouble) == (2, "")


def test_readiness_tells_that_the_registry_cannot_be_followed(
    follower: Follower, served: Served, store: ModelStore
) -> None:
    client = bridged(served, Settings())
    assert "registry" not in client.get("/readyz").json
    (store.directory / "pinned").write_text("nine")
    follower.poll()
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json["status"]) == (200, "ready")
    assert reply.json["registry"] == "The registry cannot be followed; the log says why."


def test_nothing_holds_the_old_version_when_it_is_replaced(
    follower: Follower, served: Served, store: ModelStore, card: ModelCard
) -> None:
    old = weakref.ref(served.predictor())
    push(store, card)
    follower.poll()
    assert old() is None


def test_nobody_waits_for_a_model_whose_only_version_was_refused(
    waiting: Follower, served: Served, loader: Loader
) -> None:
    loader.broken[1] = ModelError("it does not load")
    waiting.poll()
    with pytest.raises(NotReadyError, match="the log says why"):
        served.predictor(timeout=threading.TIMEOUT_MAX)


def test_nobody_waits_while_a_refused_version_is_tried_again(
    waiting: Follower, served: Served, loader: Loader, clock: Clock
) -> None:
    loader.broken[1] = ModelError("it does not load")
    waiting.poll()

    def ask() -> None:
        with pytest.raises(NotReadyError, match="the log says why"):
            served.predictor(timeout=threading.TIMEOUT_MAX)

    loader.meanwhile = ask
    clock.now = 1000
    waiting.poll()
    assert loader.loaded == [1, 1]
