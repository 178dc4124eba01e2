"""Optimizers and schedules are the ones that their names promise."""

import keras
import pytest

from trainer.config import OPTIMIZERS, TrainConfig
from trainer.optimizers import build_optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_starts_at_the_rate_asked_for(name: str) -> None:
    optimizer = build_optimizer(TrainConfig(optimizer=name, learning_rate=0.02), steps_per_epoch=10)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


def test_sgd_is_plain_and_momentum_is_not() -> None:
    assert build_optimizer(TrainConfig(optimizer="sgd"), 10).momentum == 0
    assert build_optimizer(TrainConfig(optimizer="momentum"), 10).momentum == 0.9


def test_adamw_decays_its_weights() -> None:
    optimizer = build_optimizer(TrainConfig(optimizer="adamw", weight_decay=0.01), 10)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == 0.01


def test_cosine_warms_up_to_the_peak_and_ends_at_zero() -> None:
    config = TrainConfig(schedule="cosine", learning_rate=0.1, epochs=5, warmup_epochs=1)
    rate = build_optimizer(config, steps_per_epoch=100)._learning_rate
    values = [float(rate(step)) for step in range(501)]
    assert values[0] == 0
    assert values[50] == pytest.approx(0.05)
    assert max(values) == pytest.approx(values[100]) == pytest.approx(0.1)
    assert values[500] == pytest.approx(0, abs=1e-8)


def test_cosine_needs_no_warm_up() -> None:
    config = TrainConfig(schedule="cosine", learning_rate=0.1, epochs=1, warmup_epochs=0)
    assert float(build_optimizer(config, 10)._learning_rate(0)) == pytest.approx(0.1)
