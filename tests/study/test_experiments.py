"""The experiments are the paper's, and no two runs have the same fingerprint."""

from dataclasses import replace

import pytest

from study.experiments import ALL, IN_ORDER, NOT_SHUFFLED, PAPER, ROBUST, SETS, Job, chosen, jobs
from study.paper import PUBLISHED
from study.preparations import PREPARATIONS

pytestmark = pytest.mark.tensorflow


def test_the_experiments_of_the_paper_train_what_their_names_say() -> None:
    for each in PAPER:
        model, optimizer, *rate = each.id.split("-")
        assert (each.config.model, each.config.optimizer) == (model, optimizer)
        assert not rate or each.config.learning_rate == float(rate[0])


def test_every_accuracy_that_the_paper_published_has_its_experiment() -> None:
    assert set(PUBLISHED) == {each.id for each in PAPER}


def test_the_experiments_in_order_differ_from_the_papers_in_the_order_alone() -> None:
    shuffled = {each.id: each.config for each in PAPER}
    for each in NOT_SHUFFLED:
        assert each.config == replace(shuffled[each.id.removesuffix(IN_ORDER)], shuffle=False)


def test_standardizing_is_all_that_two_experiments_on_robustness_differ_in() -> None:
    scaled, default, _ = (each.config for each in ROBUST)
    assert scaled == replace(default, normalization="scale")
    assert default.normalization == "standardize"


def test_the_three_models_are_compared_on_each_set_of_images() -> None:
    known = {each.id: each for each in ALL}
    for names in SETS.values():
        compared = [known[name] for name in names]
        assert [each.config.model for each in compared] == ["basic", "deep", "residual"]
        assert len({each.prepare for each in compared}) == 1


def test_every_experiment_has_a_name_of_its_own_and_a_known_preparation() -> None:
    assert len({each.id for each in ALL}) == len(ALL)
    assert {each.prepare for each in ALL} == set(PREPARATIONS)


def test_seeds_multiply_all_but_those_that_are_run_once() -> None:
    once = replace(PAPER[0], id="once", once=True)
    assert [job.name for job in jobs([PAPER[0], once], 2)] == [
        "basic-sgd-0.01-seed-0",
        "basic-sgd-0.01-seed-1",
        "once-seed-0",
    ]


def test_what_changes_a_run_changes_its_fingerprint() -> None:
    plain = PAPER[0]
    others = [
        Job(replace(plain, config=replace(plain.config, epochs=24)), 0),
        Job(replace(plain, prepare="details"), 0),
        Job(replace(plain, robust=True), 0),
        Job(plain, 1),
    ]
    assert len({job.fingerprint for job in [Job(plain, 0), *others]}) == 5
    assert Job(replace(plain, relative_cost=0.5), 0).fingerprint == Job(plain, 0).fingerprint


def test_an_unknown_experiment_is_rejected_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"basic-adam.*Received: basic-lion"):
        chosen(ALL, ["basic-adam", "basic-lion"])
