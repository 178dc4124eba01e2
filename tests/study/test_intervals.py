"""Means, differences and their intervals, against values that are known."""

import numpy as np
import pytest

from study.intervals import accuracy, difference, mean_of, paired
from tests.study.conftest import LABELS, MakeResult


def test_three_values_have_students_interval() -> None:
    found = mean_of([0.86, 0.87, 0.88])
    assert found.deviation == pytest.approx(0.01)
    # 4.3027 is the 97.5 % quantile of Student's t with two degrees of freedom.
    assert found.high - found.mean == pytest.approx(4.3027 * 0.01 / np.sqrt(3), rel=1e-4)
    assert 0.88 in found
    assert 0.90 not in found


def test_one_further_run_is_less_certain_than_the_mean() -> None:
    found = mean_of([0.86, 0.87, 0.88])
    assert 0.90 in found.one_more()
    assert found.one_more().high - found.mean == pytest.approx(2 * (found.high - found.mean))  # sqrt(3 + 1) for n = 3


def test_a_single_run_has_the_interval_of_its_test_images(result: MakeResult) -> None:
    found = accuracy([result("basic-adam", accuracy=0.9)])
    assert (found.low, found.high, found.deviation) == (pytest.approx(0.89), pytest.approx(0.91), None)


def test_runs_are_paired_by_their_seed(result: MakeResult) -> None:
    first = [result("basic-adam", seed) for seed in (0, 1, 2)]
    second = [result("basic-sgd-0.1", seed) for seed in (2, 0)]
    assert [(one.seed, other.seed) for one, other in paired(first, second)] == [(0, 0), (2, 2)]


def test_a_difference_that_every_seed_shows_is_sure_where_single_runs_overlap(result: MakeResult) -> None:
    pairs = [
        (result("basic-adam", seed, accuracy=0.90 + seed / 100), result("basic-sgd-0.1", seed, accuracy=worse))
        for seed, worse in enumerate((0.889, 0.901, 0.909))
    ]
    found = difference(pairs)
    assert found.mean == pytest.approx(0.0103, abs=1e-3)
    assert found.low > 0


def test_of_one_pair_the_images_say_how_sure_a_difference_is(result: MakeResult) -> None:
    right, wrong = result("basic-adam", predicted=LABELS), result("basic-sgd-0.1", predicted=[0] * len(LABELS))
    found = difference([(right, wrong)])
    assert found.mean == pytest.approx(0.7)
    assert 0.3 < found.low < 0.7 < found.high <= 1
