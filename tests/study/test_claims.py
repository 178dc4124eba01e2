"""Each claim holds where the runs say so, and fails where they say the opposite."""

from collections.abc import Sequence

import pytest

from study.claims import FAILS, HOLDS, UNDECIDED, epochs_to, judge
from study.intervals import Runs
from tests.study.conftest import MakeResult

FAST, SLOW = (0.86, 0.87, 0.88, 0.88), (0.6, 0.7, 0.84, 0.86)
SIMPLER, RATE, OSCILLATES, OVERFITS, BEST, ADAM, SHIRT = range(7)


def verdicts(runs: Runs) -> list[str]:
    return [claim.verdict for claim in judge(runs)]


@pytest.fixture
def confirming(result: MakeResult) -> Runs:
    """Three seeds of each experiment, as the paper would have them."""

    def runs(name: str, accuracy: float, validation: Sequence[float], loss: Sequence[float] = (0.4, 0.4, 0.4, 0.4)):
        made = (0.0, 0.001, 0.002)
        return [
            result(name, seed, accuracy=accuracy + more, validation=validation, loss=loss)
            for seed, more in enumerate(made)
        ]

    return {
        "basic-sgd-0.01": runs("basic-sgd-0.01", 0.871, SLOW),
        "deep-sgd-0.01": runs("deep-sgd-0.01", 0.862, SLOW),
        "basic-sgd-0.1": runs("basic-sgd-0.1", 0.89, FAST),
        "deep-sgd-0.1": runs("deep-sgd-0.1", 0.88, FAST),
        "basic-sgd-0.5": runs("basic-sgd-0.5", 0.88, (0.8, 0.9, 0.8, 0.9), (0.4, 0.3, 0.5, 0.6)),
        "basic-adam": runs("basic-adam", 0.90, (0.9, 0.9, 0.9, 0.9)),
    }


def test_runs_as_the_paper_had_them_confirm_it(confirming: Runs) -> None:
    found = verdicts(confirming)
    assert [found[each] for each in (SIMPLER, RATE, OSCILLATES, OVERFITS, BEST, SHIRT)] == [HOLDS] * 6
    assert found[ADAM] == FAILS  # beside 0.1, which is there in the first epoch too


def test_a_better_deep_network_refutes_the_simpler_one(confirming: Runs, result: MakeResult) -> None:
    deep = [result("deep-sgd-0.1", seed, accuracy=0.97) for seed in range(3)]
    deep_slow = [result("deep-sgd-0.01", seed, accuracy=0.95) for seed in range(3)]
    found = verdicts({**confirming, "deep-sgd-0.1": deep, "deep-sgd-0.01": deep_slow})
    assert (found[SIMPLER], found[BEST]) == (FAILS, FAILS)


@pytest.mark.parametrize("name", ["basic-sgd-0.5", "basic-sgd-0.1", "basic-sgd-0.01"])
def test_a_rate_that_diverges_neither_converges_fast_nor_oscillates_nor_overfits(
    name: str, confirming: Runs, result: MakeResult
) -> None:
    nan = float("nan")
    short = {"validation": (0.5, 0.1), "loss": (0.9, nan), "diverged": "in epoch 2 at a learning rate of 0.1"}
    runs = {**confirming, name: [*confirming[name][:2], result(name, 2, **short)]}
    found = verdicts(runs)
    assert (found[OSCILLATES], found[OVERFITS]) == (UNDECIDED, UNDECIDED)
    assert f"{name} 1 of 3" in judge(runs)[OVERFITS].found
    assert found[RATE] == (UNDECIDED if name == "basic-sgd-0.1" else HOLDS)


def test_seeds_that_disagree_decide_nothing(confirming: Runs, result: MakeResult) -> None:
    curves = (FAST, SLOW, FAST)
    mixed = [result("basic-sgd-0.1", seed, validation=curve) for seed, curve in enumerate(curves)]
    assert verdicts({**confirming, "basic-sgd-0.1": mixed})[RATE] == UNDECIDED


def test_a_calm_curve_at_the_highest_rate_refutes_oscillation_and_overfitting(confirming: Runs) -> None:
    calm = confirming["basic-sgd-0.1"]
    found = verdicts({**confirming, "basic-sgd-0.5": calm, "basic-sgd-0.1": confirming["basic-sgd-0.5"]})
    assert (found[OSCILLATES], found[OVERFITS]) == (FAILS, FAILS)


def test_a_difference_that_may_be_none_decides_nothing(confirming: Runs, result: MakeResult) -> None:
    # Better by 0.002 on average, with an interval from well below the margin to well above it.
    deep = {
        f"deep-sgd-{rate}": [
            result(f"deep-sgd-{rate}", run.seed, accuracy=run.test_accuracy - 0.002 + swing)
            for run, swing in zip(confirming[f"basic-sgd-{rate}"], (-0.03, 0.0, 0.03), strict=True)
        ]
        for rate in ("0.01", "0.1")
    }
    assert verdicts({**confirming, **deep})[SIMPLER] == UNDECIDED


def test_a_curve_that_swings_early_and_is_calm_late_does_not_oscillate(confirming: Runs, result: MakeResult) -> None:
    early = [result("basic-sgd-0.5", seed, validation=(0.1, 0.9, 0.1, 0.9, *[0.9] * 4)) for seed in range(3)]
    assert verdicts({**confirming, "basic-sgd-0.5": early})[OSCILLATES] == FAILS


def test_a_loss_that_peaks_and_comes_down_again_is_no_overfitting(confirming: Runs, result: MakeResult) -> None:
    peak = [result("basic-sgd-0.5", seed, loss=(0.4, 0.9, 0.5, 0.4)) for seed in range(3)]
    assert verdicts({**confirming, "basic-sgd-0.5": peak})[OVERFITS] == FAILS


def test_another_worst_class_refutes_the_one_about_shirts(result: MakeResult) -> None:
    run = result("basic-sgd-0.01", predicted=(0, 0, 0, 0, 0, 0, 0, 2, 2, 2))
    assert verdicts({"basic-sgd-0.01": [run]}) == [FAILS]


def test_shirts_that_are_mostly_taken_for_t_shirts_confirm_it(result: MakeResult) -> None:
    run = result("basic-sgd-0.01", predicted=(0, 0, 0, 1, 1, 1, 0, 0, 0, 2))
    assert verdicts({"basic-sgd-0.01": [run]}) == [HOLDS]


def test_claims_whose_experiments_were_not_run_are_left_out(result: MakeResult) -> None:
    assert judge({"deep-sgd-0.1": [result("deep-sgd-0.1")]}) == []


def test_a_target_that_is_never_reached_counts_one_epoch_more(result: MakeResult) -> None:
    assert epochs_to(result("basic-adam", validation=(0.1, 0.9))) == 2
    assert epochs_to(result("basic-adam", validation=(0.1, 0.2))) == 3
    diverged = result("basic-adam", validation=(0.9, 0.1), diverged="in epoch 2")
    assert epochs_to(diverged) == diverged.config["epochs"] + 1
