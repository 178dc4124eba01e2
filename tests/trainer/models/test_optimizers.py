"""Optimizers and schedules do what their names promise."""

import itertools

import keras
import pytest

from trainer.config import DEFAULT_RATES, OPTIMIZERS, TrainConfig
from trainer.models.optimizers import build_optimizer

pytestmark = pytest.mark.tensorflow


def steps(config: TrainConfig, gradients: list[float]) -> list[float]:
    """How far each gradient moves a weight of 1."""
    optimizer = build_optimizer(config, steps_per_epoch=10)
    weight = keras.Variable(1.0)
    optimizer.build([weight])
    values = [1.0]
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        values.append(float(weight.value))
    return [after - before for before, after in itertools.pairwise(values)]


def rates(config: TrainConfig, steps_per_epoch: int, at: list[int]) -> list[float]:
    """The learning rate at some steps."""
    optimizer = build_optimizer(config, steps_per_epoch)
    found = []
    for step in at:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_starts_at_the_rate_asked_for(name: str) -> None:
    config = TrainConfig(optimizer=name, learning_rate=DEFAULT_RATES[name])
    assert rates(config, 10, at=[0]) == pytest.approx([DEFAULT_RATES[name]])


def test_sgd_follows_the_gradient_alone_and_momentum_those_before_too() -> None:
    assert steps(TrainConfig(optimizer="sgd", learning_rate=0.1), [1, 1, 0]) == pytest.approx([-0.1, -0.1, 0])
    first, second, third = steps(TrainConfig(optimizer="momentum", learning_rate=0.1), [1, 1, 0])
    assert second < first < 0
    assert third < 0


def test_adamw_decays_weights_that_no_gradient_moves() -> None:
    (step,) = steps(TrainConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.01), [0])
    assert step == pytest.approx(-0.1 * 0.01, rel=1e-3)


def test_cosine_warms_up_to_the_peak_and_ends_at_zero() -> None:
    config = TrainConfig(schedule="cosine", learning_rate=0.1, epochs=5, warmup_epochs=1)
    found = rates(config, 100, at=[*range(501)])
    assert found[0] == 0
    assert found[50] == pytest.approx(0.05)
    assert max(found) == pytest.approx(found[100]) == pytest.approx(0.1)
    assert found[500] == pytest.approx(0, abs=1e-8)


def test_cosine_needs_no_warm_up() -> None:
    config = TrainConfig(schedule="cosine", learning_rate=0.1, epochs=1, warmup_epochs=0)
    assert rates(config, 10, at=[0]) == pytest.approx([0.1])
