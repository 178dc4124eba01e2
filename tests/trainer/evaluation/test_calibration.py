"""Probabilities are made to mean what they say, by one number, and the error that is left is measured."""

import numpy as np
import pytest

from trainer.evaluation.calibration import (
    HIGHEST,
    LOWEST,
    calibration,
    chance_error,
    expected_calibration_error,
    fit_temperature,
    softmax,
)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of ten classes, and labels drawn from just the probabilities that they make."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 2, (count, 10))
    probabilities = softmax(logits)
    labels = (probabilities.cumsum(axis=1) > chance.random((count, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found_again(temperature: float) -> None:
    logits, labels = drawn(50_000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.02)


def test_no_other_temperature_is_likelier() -> None:
    logits, labels = drawn(500)
    best = fit_temperature(3 * logits, labels)
    likelihood = calibration(3 * logits, labels, best).nll
    for other in np.geomspace(0.1, 10, 50):
        assert calibration(3 * logits, labels, other).nll >= likelihood - 1e-9


def test_a_model_that_always_errs_gets_a_finite_temperature() -> None:
    logits = np.eye(10)[np.arange(100) % 10] * 5
    assert fit_temperature(logits, (np.arange(100) + 1) % 10) == HIGHEST


@pytest.mark.parametrize("count", [10, 100])
def test_a_model_that_never_errs_is_as_sure_as_so_many_images_make_it(count: int) -> None:
    labels = np.arange(count) % 10
    logits = np.eye(10)[labels] * 50
    confidence = softmax(logits, fit_temperature(logits, labels)).max(axis=1)
    assert confidence == pytest.approx((count + 1) / (count + 2), rel=1e-4)


def test_two_images_far_from_any_error_do_not_take_the_temperature_beyond_its_bounds() -> None:
    assert fit_temperature(np.eye(2) * 1e-3, np.arange(2)) == LOWEST


def test_scaling_keeps_every_prediction_and_mends_the_calibration() -> None:
    logits, labels = drawn(20_000)
    wild = logits * 3
    fitted = fit_temperature(*((part[:10_000]) for part in (wild, labels)))
    before = calibration(wild[10_000:], labels[10_000:])
    after = calibration(wild[10_000:], labels[10_000:], fitted)
    assert before.ece > 0.1
    assert after.ece < 0.02
    assert (after.nll, after.brier) < (before.nll, before.brier)
    assert (softmax(wild, fitted).argmax(axis=1) == wild.argmax(axis=1)).all()


def test_measures_of_a_case_done_by_hand() -> None:
    logits = np.log([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    measured = calibration(logits, np.array([0, 1, 1]))
    assert measured.nll == pytest.approx(-(np.log(0.8) + np.log(0.2) + np.log(0.6)) / 3)
    assert measured.brier == pytest.approx((2 * 0.2**2 + 2 * 0.8**2 + 2 * 0.4**2) / 3)
    # Two of 0.8 of which half are right; one of 0.6 that is right.
    assert measured.ece == pytest.approx((2 * 0.3 + 1 * 0.4) / 3)
    assert sum(measured.counts) == 3
    assert [value for value in measured.accuracy if value is not None] == [1.0, 0.5]


def test_bins_reach_from_just_above_zero_to_one() -> None:
    confidence = np.array([1e-9, 1 / 15, 1 / 15 + 1e-9, 1.0])
    assert expected_calibration_error(confidence, np.ones(4)) == pytest.approx((1 - confidence).mean())


def test_a_confidence_on_the_edge_of_two_bins_belongs_to_the_lower_one() -> None:
    # 0.6 is 9/15. One bin for both would let the error of one make up for the other's: 0.1 instead of 0.5.
    confidence, right = np.array([0.6, 0.6 + 1e-9]), np.array([False, True])
    assert expected_calibration_error(confidence, right) == pytest.approx((0.6 + 0.4) / 2)
    # Beside one just below, it is in the same bin.
    assert expected_calibration_error(np.array([0.6, 0.6 - 1e-9]), right) == pytest.approx(0.1)


def test_chance_alone_makes_an_error_that_shrinks_with_the_images() -> None:
    few, many = (chance_error(np.full(count, 0.7), 0.99) for count in (100, 10_000))
    # One bin: the error is |share - 0.7|, whose 99 % quantile is 2.58 standard deviations.
    assert few == pytest.approx(2.58 * (0.21 / 100) ** 0.5, rel=0.15)
    assert many == pytest.approx(2.58 * (0.21 / 10_000) ** 0.5, rel=0.15)
