"""The model card comes back as it was written, or is refused with a reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.card import CARD_PATH, CardError, ModelCard, TensorSpec

Spoil = Callable[[dict[str, Any]], Any]


def test_a_card_comes_back_as_it_was_written(tmp_path: Path, card: ModelCard) -> None:
    full = replace(card, classes=("Åse", "日本"), verdict={"accepted": True, "forced": None, "checks": []})
    full.write(tmp_path)
    assert ModelCard.read(tmp_path) == full
    assert json.loads((tmp_path / CARD_PATH).read_text(encoding="utf-8"))["input"]["shape"] == [28, 28, 1]


def test_a_directory_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"There is no model card at .*model_card.json"):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_card_that_is_not_json_is_refused(tmp_path: Path, card: ModelCard, content: bytes) -> None:
    card.write(tmp_path)
    (tmp_path / CARD_PATH).write_bytes(content)
    with pytest.raises(CardError, match="is not JSON"):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda content: content.pop("run"), "the card lacks run"),
        (lambda content: content["input"].pop("dtype"), "`input` lacks dtype"),
        (lambda content: content.update(colour="red"), "unknown fields: colour"),
        (
            lambda content: content.update(classes="a, b"),
            r"`classes` must be tuple\[str, ...\]. Received: 'a, b'",
        ),
        (lambda content: content.update(classes=[1, 2]), "`classes` must be"),
        (lambda content: content.update(metrics=[]), r"`metrics` must be dict\[str, Any\]. Received: \[\]"),
        (lambda content: content.update(libraries={"python": 3}), "`libraries` must be"),
        (lambda content: content.update(commit=7), r"`commit` must be str \| None. Received: 7"),
        (lambda content: content.update(output=None), "`output` must be a JSON object. Received: None"),
        (lambda content: content["output"].update(shape=[True]), "`shape` must be"),
        (lambda content: content["output"].update(shape=[0]), "`shape` must hold positive integers"),
        (lambda content: content.update(created="yesterday"), "`created` must be .* Received: yesterday"),
        (lambda content: content.update(created="2026-01-31T12:00:00+01:00"), "`created` must be .* in UTC"),
        (lambda content: content.update(format="1"), "`format` must be int"),
    ],
)
def test_a_malformed_card_is_refused_by_the_name_of_its_field(
    tmp_path: Path, card: ModelCard, spoil: Spoil, sentence: str
) -> None:
    card.write(tmp_path)
    content = json.loads((tmp_path / CARD_PATH).read_text())
    spoil(content)
    (tmp_path / CARD_PATH).write_text(json.dumps(content))
    with pytest.raises(CardError, match=sentence):
        ModelCard.read(tmp_path)


def test_a_card_of_a_newer_format_asks_for_an_upgrade_whatever_its_fields(tmp_path: Path, card: ModelCard) -> None:
    card.write(tmp_path)
    (tmp_path / CARD_PATH).write_text('{"format": 2, "something": "new"}')
    newer = r"written by a newer version of this project \(format 2, this one reads up to 1\): upgrade"
    with pytest.raises(CardError, match=newer):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({"test_accuracy": object()}, "`metrics` must hold .* only. Received: Object of type object is not JSON"),
        ({"history": {"loss": [1.0, float("nan")]}}, "`metrics` must hold text, finite numbers, lists and dicts only"),
        ({"per_class": {"\ud800": 0.5}}, r"`metrics` must hold text.*'utf-8' codec can't encode character '\\ud800'"),
    ],
)
def test_a_card_refuses_what_json_cannot_hold(card: ModelCard, metrics: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CardError, match=sentence):
        replace(card, metrics=metrics)


def test_a_class_name_that_is_half_of_a_character_is_refused(tmp_path: Path, card: ModelCard) -> None:
    card.write(tmp_path)
    path = tmp_path / CARD_PATH
    path.write_text(path.read_text().replace('"Trouser"', r'"\ud800"'))
    with pytest.raises(CardError, match=r"`classes` must hold text.*can't encode character '\\ud800'"):
        ModelCard.read(tmp_path)


def test_a_shape_is_a_tuple_of_positive_sizes() -> None:
    with pytest.raises(CardError, match="`shape` must hold positive integers"):
        TensorSpec("images", (28, -1), "float32")
