"""A config validates its fields when constructed."""

import os
from dataclasses import replace

import pytest

from trainer.config import TrainConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "resnet"),
        ("optimizer", "lion"),
        ("schedule", "step"),
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("batch_size", 0),
        ("epochs", 0),
        ("epochs", 10**6),
        ("patience", -1),
        ("dropout", 1.0),
        ("label_smoothing", -0.1),
        ("shift", 17),
        ("rotate", 181.0),
        ("erase", 1.0),
        ("precision", "float8"),
        ("seed", -1),
    ],
)
def test_config_refuses_a_value_out_of_range_and_says_what_came(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` must be .*Received: {value}\."):
        replace(TrainConfig(), **{field: value})


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="basic, deep"):
        TrainConfig(model="resnet")


def test_a_model_of_the_users_own_normalizes_by_itself() -> None:
    TrainConfig(model="package.my_models:small", normalization="none")
    for model, normalization, dropout in (
        ("my_models:small", "scale", 0.0),
        ("my_models:small", "none", 0.1),
        ("deep", "none", 0.0),
    ):
        with pytest.raises(ValueError, match="`normalization` must be none and `dropout` 0 for a model of your own"):
            TrainConfig(model=model, normalization=normalization, dropout=dropout)


def test_weight_decay_goes_with_adamw_only() -> None:
    TrainConfig(optimizer="adamw", weight_decay=0.01)
    with pytest.raises(ValueError, match="adamw"):
        TrainConfig(optimizer="sgd", weight_decay=0.01)


def test_equal_configs_share_a_fingerprint_and_different_ones_do_not() -> None:
    assert TrainConfig().fingerprint() == TrainConfig().fingerprint()
    assert TrainConfig().fingerprint() != TrainConfig(seed=1).fingerprint()


def test_a_path_that_is_not_utf_8_is_refused_because_no_card_could_name_it() -> None:
    with pytest.raises(ValueError, match=r"`dataset` must be in UTF-8\. Received: b'folder:/caf\\xe9'\."):
        TrainConfig(dataset=os.fsdecode(b"folder:/caf\xe9"))
