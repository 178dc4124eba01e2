"""The space: every point of it is a config of the trainer, and what is fixed stays fixed."""

import random
from dataclasses import replace

import pytest

from trainer.config import OPTIMIZERS, TrainConfig
from trainer.recipes import RECIPES
from tuning.space import SPACES, Search

pytestmark = pytest.mark.tensorflow

BASE = RECIPES["default"]


def sampled(search: Search, count: int = 200) -> list[TrainConfig]:
    space, rng, configs = search.hyperparameters().space, random.Random(0), []
    for number in range(count):
        values = {each.name: each.random_sample(rng.randrange(2**30)) for each in space}
        configs.append(search.config(values, number))
    return configs


@pytest.mark.parametrize("space", SPACES)
def test_every_sample_is_a_config_whose_searched_settings_vary(space: str) -> None:
    search = Search(BASE, space=space)
    configs = sampled(search)
    for name in search.free:
        assert len({getattr(config, name) for config in configs}) > 1, name
    assert {config.rotate for config in configs} == {BASE.rotate}


def test_learning_rates_span_four_decades_in_readable_steps() -> None:
    rates = sorted({config.learning_rate for config in sampled(Search(BASE))})
    assert (rates[0], rates[-1], len(rates)) == (1e-4, 1.0, 17)
    assert 0.00562 in rates


def test_only_adamw_decays_weights() -> None:
    for config in sampled(Search(BASE, space="full")):
        assert config.weight_decay == 0 or config.optimizer == "adamw"


def test_a_fixed_setting_is_not_searched() -> None:
    search = Search(TrainConfig(optimizer="momentum"), fixed=("optimizer",), space="full")
    configs = sampled(search)
    assert {config.optimizer for config in configs} == {"momentum"}
    assert {config.weight_decay for config in configs} == {0.0}
    assert {config.model for config in configs} == {"basic", "deep"}


def test_dropout_of_a_users_own_model_is_not_searched() -> None:
    base = replace(BASE, model="my_models:small", normalization="none")
    search = Search(base, fixed=("model",), space="full")
    assert {(config.model, config.dropout) for config in sampled(search)} == {("my_models:small", 0.0)}


def test_each_trial_has_its_own_seed_and_keeps_it() -> None:
    values = {"learning_rate": 0.01, "optimizer": OPTIMIZERS[0], "model": "basic"}
    seeds = [Search(BASE, seed=seed).config(values, number).seed for seed in (0, 1) for number in range(50)]
    assert len(set(seeds)) == 100
    assert seeds[7] == Search(BASE).config(values, 7).seed


def test_a_finalist_trains_the_trials_settings_in_full() -> None:
    search = Search(BASE, epochs=2)
    values = {"learning_rate": 0.01, "optimizer": "adam", "model": "deep"}
    assert search.config(values, 3).epochs == 2
    full = search.full_config(values, 3, seed=1)
    assert (full.epochs, full.seed, full.optimizer) == (BASE.epochs, 1, "adam")


def test_only_searches_whose_trials_are_the_same_share_a_key() -> None:
    search = Search(BASE)
    key = search.key("ab")
    assert key == replace(search, trials=3, base=replace(BASE, epochs=99, dataset="folder:/elsewhere")).key("ab")
    others = [Search(BASE, space="full"), Search(BASE, seed=1), Search(replace(BASE, batch_size=32))]
    assert len({key, search.key("cd"), *(each.key("ab") for each in others)}) == 5
