"""Thresholds are data: known by name, overridden by option, and nonsense is refused before any training."""

import pytest

from trainer.release.thresholds import Thresholds, parse, thresholds_for


def test_options_override_what_the_data_set_has() -> None:
    overridden = thresholds_for("fashion_mnist", parse(["recall_drop=0.1", "infra_requests=5"]))
    assert (overridden.recall_drop, overridden.infra_requests) == (0.1, 5)
    assert overridden.accuracy_floor == thresholds_for("fashion_mnist").accuracy_floor == 0.8
    assert thresholds_for("something_else") == Thresholds()


def test_the_levels_leave_half_of_the_tenth_that_may_be_refused_in_vain() -> None:
    levels = Thresholds()
    assert levels.accuracy_level + levels.recall_level + levels.robustness_level <= 0.05


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("accuracy_floor", "must be NAME=VALUE, such as accuracy_floor=0.8. Received: accuracy_floor."),
        ("accuracy_floor=high", "Received: accuracy_floor=high."),
        ("floor=0.8", "`threshold` must be one of accuracy_floor, recall_floor, .* Received: floor."),
        ("accuracy_floor=80", "`accuracy_floor` must be at least 0 and below 1. Received: 80.0."),
        ("accuracy_floor=1", "`accuracy_floor` must be at least 0 and below 1. Received: 1.0."),
        ("recall_drop=nan", "`recall_drop` must be at least 0 and at most 1. Received: nan."),
        ("infra_requests=0", "`infra_requests` must be at least 1 and at most 10000. Received: 0."),
        ("infra_requests=2.5", "such as infra_requests=24, a whole number. Received: infra_requests=2.5."),
    ],
)
def test_nonsense_is_refused_by_name(option: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse([option])
