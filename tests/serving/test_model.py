"""Which model is served, and who answers for it now."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.card import ModelCard
from registry.store import ModelStore
from serving.errors import NotReadyError
from serving.model.served import NoModelError, Served, find, names_to_serve
from serving.settings import Settings


def push(root: Path, card: ModelCard) -> ModelStore:
    store = ModelStore(root, card.name)
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"")
        store.publish(staged, card)
    return store


def test_the_only_model_there_is_served(tmp_path: Path, card: ModelCard) -> None:
    push(tmp_path, card)
    assert find(Settings(models=tmp_path)).directory == tmp_path / "fashion_mnist"


def test_no_model_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NoModelError, match=r'^no model in .*/models yet: run "make train" first$'):
        find(Settings(artifacts=tmp_path))


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ("models/fashion_mnist", "is a model itself: MODELS must be {}/models"),
        ("nowhere", "is no directory: MODELS must be one with a subdirectory for each model"),
        ("file", "is no directory: MODELS must be one with a subdirectory for each model"),
        (".", ' yet: run "make train" first, or set MODELS to where the models are'),
    ],
)
def test_models_that_are_looked_for_in_the_wrong_place_are_told_so(
    tmp_path: Path, card: ModelCard, models: str, reason: str
) -> None:
    push(tmp_path / "models", card).pin(1)
    (tmp_path / "file").touch()
    with pytest.raises(NoModelError) as caught:
        find(Settings(models=tmp_path / models))
    assert str(caught.value).startswith(f"no model in {tmp_path / models}")
    assert str(caught.value).endswith(reason.format(tmp_path))


def test_of_several_models_the_default_one_is_the_first_that_is_named_or_the_one_pushed_last(
    tmp_path: Path, card: ModelCard
) -> None:
    for name, month in (("bags", 1), ("shoes", 3), ("coats", 2)):
        push(tmp_path, replace(card, name=name, created=f"2026-{month:02}-28T12:00:00+00:00"))
    assert find(Settings(models=tmp_path)).name == "shoes"
    assert names_to_serve(Settings(models=tmp_path)) == ("shoes", "bags", "coats")
    push(tmp_path, replace(card, name="bags", created="2026-04-28T12:00:00+00:00"))
    assert names_to_serve(Settings(models=tmp_path)) == ("bags", "coats", "shoes")
    assert names_to_serve(Settings(models=tmp_path, model_name="shoes")) == ("shoes",)
    assert names_to_serve(Settings(models=tmp_path, model_name="shoes,bags")) == ("shoes", "bags")


@pytest.mark.parametrize("name", ["bags", "../fashion_mnist", "."])
def test_a_name_that_is_not_there_is_refused(tmp_path: Path, card: ModelCard, name: str) -> None:
    push(tmp_path, card)
    with pytest.raises(NoModelError, match=r"^MODEL_NAME must be a model in .* \(fashion_mnist\)\. Received: "):
        find(Settings(models=tmp_path, model_name=name))


def test_nobody_answers_before_the_first_predictor_is_there() -> None:
    with pytest.raises(NotReadyError):
        Served().predictor()


def test_nobody_waits_for_a_model_while_the_registry_cannot_be_read() -> None:
    served = Served()
    served.trouble = "the directory is away"
    served.settle()
    with pytest.raises(NotReadyError, match=r"^No version of the model can be served now; the log says why\.$"):
        served.predictor(timeout=threading.TIMEOUT_MAX)


def test_who_waits_while_a_version_is_refused_gets_the_older_one_that_comes(predictor: Any) -> None:
    served = Served()
    served.failures = {8: "it does not load"}
    with pytest.raises(NotReadyError, match=r"^No version of the model can be served now; the log says why\.$"):
        served.predictor()
    timer = threading.Timer(0.05, served.replace, [predictor])
    timer.start()
    assert served.predictor(timeout=300) is predictor
    timer.join()


def test_who_waits_gets_the_predictor_that_comes(predictor: Any) -> None:
    served = Served()
    timer = threading.Timer(0.05, served.replace, [predictor])
    timer.start()
    assert served.predictor(timeout=300) is predictor
    timer.join()


def test_a_replaced_predictor_answers_no_more(predictor: Any) -> None:
    served, newer = Served(predictor), replace(predictor, version=8)
    served.replace(newer)
    assert served.predictor() is newer
