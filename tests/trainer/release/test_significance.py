"""The tests of significance give the known answers, and false alarms as rarely as they promise."""

import numpy as np
import pytest

from trainer.release.significance import binomial_tail, bootstrap_interval, holm, mcnemar


@pytest.mark.parametrize(
    ("successes", "trials", "share", "expected"),
    [
        (3, 10, 0.5, 176 / 1024),
        (0, 20, 0.3, 0.7**20),
        (5, 5, 0.1, 1.0),
        (0, 0, 0.5, 1.0),
        (0, 3, 0.0, 1.0),
        (2, 3, 1.0, 0.0),
        (4900, 10_000, 0.5, 0.02329),  # the normal approximation with continuity correction: Phi(-1.99)
    ],
)
def test_binomial_tail_of_known_cases(successes: int, trials: int, share: float, expected: float) -> None:
    assert binomial_tail(successes, trials, share) == pytest.approx(expected, rel=1e-3)


def test_mcnemar_looks_at_the_disagreements_only_and_on_one_side() -> None:
    assert mcnemar(2, 8) == pytest.approx((1 + 10 + 45) / 1024)
    assert mcnemar(8, 2) == pytest.approx(1 - (1 + 10) / 1024)
    assert mcnemar(0, 0) == 1


def test_a_margin_forgives_as_many_losses() -> None:
    assert mcnemar(10, 30) < 0.01 < mcnemar(10, 30, margin=20)
    assert mcnemar(10, 30, margin=40) == 1
    assert mcnemar(0, 30, margin=5) < 0.001


def test_holm_multiplies_the_least_by_all_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_models_are_called_worse_as_often_as_the_level_says() -> None:
    chance = np.random.default_rng(0)
    lost = chance.binomial(600, 0.5, 4000)
    alarms = np.mean([mcnemar(600 - int(each), int(each)) < 0.02 for each in lost])
    assert 0.01 < alarms <= 0.025


def test_the_bootstrap_is_that_of_whole_images() -> None:
    differences = np.repeat([1.0, -1.0, 0.0], [30, 50, 920])
    low, high = bootstrap_interval(differences)
    spread = 1.96 * differences.std() / 1000**0.5
    assert (low, high) == pytest.approx((-0.02 - spread, -0.02 + spread), abs=0.0015)
    chance = np.random.default_rng(1)
    plain = [chance.choice(differences, 1000).mean() for _ in range(2000)]
    assert (low, high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.0015)
    assert bootstrap_interval(np.zeros(5)) == (0, 0)
