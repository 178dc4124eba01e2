"""A version that could be loaded, but could not answer clients, is refused before it is served."""

import gc
import shutil
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.card import CardError, ModelCard, TensorSpec
from registry.store import ModelStore
from serving import metrics
from serving.model.served import ModelError
from serving.settings import Settings
from serving.trial import try_out
from tests.serving.conftest import FakePredictor, make_card
from tests.serving.workers import wait

FAMILIAR = {
    "rows": np.zeros((7, 28), np.float32),
    "columns": np.zeros((28, 7), np.float32),
    "whiten": np.zeros((49, 49), np.float32),
    "centers": np.zeros((2, 49), np.float32),
    "threshold": np.float64(1),
}


def card_with(**changes: Any) -> ModelCard:
    return replace(make_card(), **changes)


def counted() -> float:
    return sum(
        sample.value
        for metric in metrics.REGISTRY.collect()
        for sample in metric.samples
        if sample.name.startswith(("serving_requests", "serving_confidence", "serving_predicted"))
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models=tmp_path, api_keys="0" * 64, max_body_bytes=1, deadline_ms=1)


def with_familiar(tmp_path: Path, **changes: Any) -> None:
    folder = tmp_path / "fashion_mnist" / "7" / "assets.extra"
    folder.mkdir(parents=True)
    np.savez(folder / "familiar.npz", **FAMILIAR | changes)


@pytest.mark.parametrize("shape", [(28, 28, 1), (40, 40, 1), (64, 40, 3)])
def test_a_good_version_passes_whatever_the_limits_for_clients_are(settings: Settings, shape: tuple[int, ...]) -> None:
    card = replace(card_with(), input=TensorSpec("images", shape, "float32"), data={"look": {"side": 28}})
    try_out(FakePredictor(card), settings)


def test_the_trial_is_not_counted_among_the_requests_of_clients(settings: Settings) -> None:
    before = counted()
    try_out(FakePredictor(card_with()), settings)
    assert counted() == before


def test_the_trial_keeps_nothing_of_the_version(settings: Settings) -> None:
    predictor = FakePredictor(card_with())
    seen = weakref.ref(predictor)
    try_out(predictor, settings)
    del predictor
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    "look", [{"side": "28"}, {"side": 0}, {"side": 10**9}, {"side": True}, {"longest": 28}, [28], 28]
)
def test_an_odd_look_is_refused_with_what_it_should_be(settings: Settings, look: Any) -> None:
    with pytest.raises(CardError, match=r"`look` must have a `side` from 1 to 28\. Received: "):
        try_out(FakePredictor(card_with(data={"look": look})), settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": np.zeros((7, 27), np.float32)},
        {"columns": np.zeros(28, np.float32)},
        {"centers": np.zeros((2, 48), np.float32)},
        {"threshold": np.ones(5)},
        {"threshold": np.array(["a"])},
    ],
)
def test_an_odd_novelty_file_is_refused(settings: Settings, tmp_path: Path, changes: dict[str, Any]) -> None:
    with_familiar(tmp_path, **changes)
    with pytest.raises(ModelError, match=r"^POST /predict must be answered with 200\. Received: 500, "):
        try_out(FakePredictor(card_with()), settings)


def test_class_names_that_are_not_told_apart_in_a_reply_are_refused(settings: Settings) -> None:
    classes = (*card_with().classes[:9], "Bag")
    with pytest.raises(ModelError, match=r"must differ\. Received: T-shirt/top, "):
        try_out(FakePredictor(card_with(classes=classes)), settings)


def test_odd_but_printable_class_names_are_taken(settings: Settings, tmp_path: Path) -> None:
    with_familiar(tmp_path)
    try_out(FakePredictor(card_with(classes=("", " ", "\n", '"', "花", "a:b", "\x00", "-", "0", "é"))), settings)


def test_a_service_refuses_a_version_that_would_answer_500_and_serves_the_one_before(
    models: Path, tmp_path: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    shutil.copytree(models, tmp_path / "models")
    store = ModelStore(tmp_path / "models", "fashion_mnist")
    shutil.copytree(store.path(1), store.path(2))
    card = ModelCard.read(store.path(2))
    replace(card, data=card.data | {"look": {"side": 0}}).write(store.path(2))
    with start(store.root, RUNTIME="litert") as server:
        server.wait_until_ready()
        wait(lambda: "fashion_mnist version 1 is ready" in server.log.read_text(), server)
        log = server.log.read_text()
    assert "version 2 is not served: The card's `look` must have a `side` from 1 to 28" in log
