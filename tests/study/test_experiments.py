"""The experiments are the paper's, and each run is told apart from every other."""

from dataclasses import replace

import pytest

from study.experiments import ALL, NOT_SHUFFLED, PAPER, Job, chosen, jobs
from study.paper import PUBLISHED
from study.preparations import PREPARATIONS


def test_the_six_experiments_are_the_papers() -> None:
    found = {each.id: (each.config.model, each.config.optimizer, each.config.learning_rate) for each in PAPER}
    assert found == {
        "basic-sgd-0.01": ("basic", "sgd", 0.01),
        "deep-sgd-0.01": ("deep", "sgd", 0.01),
        "basic-sgd-0.1": ("basic", "sgd", 0.1),
        "deep-sgd-0.1": ("deep", "sgd", 0.1),
        "basic-sgd-0.5": ("basic", "sgd", 0.5),
        "basic-adam": ("basic", "adam", 3e-4),
    }
    assert set(found) == set(PUBLISHED)
    assert {(each.config.epochs, each.config.batch_size, each.config.shuffle) for each in PAPER} == {(25, 64, True)}
    assert not any(each.config.shuffle for each in NOT_SHUFFLED)


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
    assert Job(replace(plain, share=0.5), 0).fingerprint == Job(plain, 0).fingerprint


def test_an_unknown_experiment_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"basic-adam.*Received: basic-lion"):
        chosen(ALL, ["basic-adam", "basic-lion"])
