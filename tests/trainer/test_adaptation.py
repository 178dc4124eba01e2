"""A recipe fits the size of a data set: small sets get more steps, large ones the recipe itself, options always win."""

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.adaptation import STEPS, STEPS_AN_EPOCH, Counts, adapted, changes, steps_an_epoch
from trainer.config import TrainConfig
from trainer.options import configs, parser, recipe_of
from trainer.recipes import RECIPES

FASHION_MNIST = Counts((4800,) * 10, 12_000, (1000,) * 10, 28)
SIXTY = Counts((13,) * 3, 9, (4,) * 3, 64)
UNBALANCED = Counts((320, 13), 84, (100, 4), 64)
THIRTY = Counts((8,) * 30, 60, (2,) * 30, 64)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_set_of_fashion_mnists_size_trains_by_the_recipe_itself(recipe: str) -> None:
    assert adapted(RECIPES[recipe], FASHION_MNIST, {}) == RECIPES[recipe]
    large = {"batch_size": 8192}
    assert adapted(RECIPES[recipe], FASHION_MNIST, large) == replace(RECIPES[recipe], **large)


@pytest.mark.parametrize("counts", [SIXTY, UNBALANCED, THIRTY, Counts((2, 2), 2, (1, 1), 8)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_small_set_gets_enough_steps_and_patience(counts: Counts, recipe: str) -> None:
    config = adapted(RECIPES[recipe], counts, {})
    steps = steps_an_epoch(config, sum(counts.train))
    assert steps >= STEPS_AN_EPOCH
    assert steps * config.epochs >= STEPS
    assert 0 < config.patience < config.epochs
    assert 8 <= config.batch_size < RECIPES[recipe].batch_size
    assert config.learning_rate < RECIPES[recipe].learning_rate
    assert config.tie_by_loss


def test_unbalanced_classes_get_weights() -> None:
    assert adapted(TrainConfig(), UNBALANCED, {}).class_weights
    assert not adapted(TrainConfig(), SIXTY, {}).class_weights


def test_a_small_set_is_augmented_mildly_but_not_by_a_plain_recipe_and_never_mirrored() -> None:
    pictures = replace(RECIPES["default"], mirror=False, erase=0.25)
    config = adapted(pictures, SIXTY, {})
    assert (config.shift, config.mirror, config.erase) == (4, False, 0.25)
    assert adapted(RECIPES["paper"], SIXTY, {}).shift == 0
    assert adapted(pictures, replace(SIXTY, side=1000), {}).shift == 16


def test_the_rate_goes_with_the_batch_and_its_root_for_adam() -> None:
    recipe = TrainConfig(learning_rate=0.01, batch_size=128)
    assert adapted(recipe, SIXTY, {}).learning_rate == pytest.approx(0.01 / 16, rel=1e-2)
    assert adapted(recipe, SIXTY, {"optimizer": "adam"}).learning_rate == pytest.approx(0.0025)
    assert adapted(recipe, SIXTY, {"batch_size": 32}).learning_rate == pytest.approx(0.0025)


def test_what_the_user_names_is_left_as_it_is() -> None:
    options = ["--batch-size", "16", "--epochs", "3", "--learning-rate", "0.5", "--shift", "0", "--no-tie-by-loss"]
    arguments = parser().parse_args([*options, "--model", "deep", "--patience", "0", "--dataset", "folder:pictures"])
    (config,) = configs(arguments, Path("runs"), SIXTY)
    assert (config.batch_size, config.epochs, config.learning_rate, config.shift) == (16, 3, 0.5, 0)
    assert (config.patience, config.tie_by_loss) == (0, False)
    assert config.passes == 7  # 3 steps a pass


@pytest.mark.parametrize(
    ("options", "counts", "expected"),
    [
        ([], SIXTY, ["residual"]),
        ([], FASHION_MNIST, ["basic", "deep"]),
        (["--model", "deep"], SIXTY, ["deep"]),
        (["--recipe", "paper"], SIXTY, ["basic", "deep"]),
        ([], replace(SIXTY, side=7), ["basic"]),
        ([], replace(FASHION_MNIST, side=7), ["basic"]),
        ([], replace(SIXTY, side=1), ["basic"]),
    ],
)
def test_a_small_set_gets_the_residual_network_unless_the_user_chooses(
    options: list[str], counts: Counts, expected: list[str]
) -> None:
    chosen = configs(parser().parse_args(options), Path("runs"), counts)
    assert [config.model for config in chosen] == expected


def test_what_was_adapted_is_told_by_the_recipe_of_the_model_that_is_trained() -> None:
    arguments = parser().parse_args(["--epochs", "7"])
    config, *_ = configs(arguments, Path("runs"), replace(SIXTY, side=10))
    rows = changes(recipe_of(config, arguments, Path("runs")), config)
    told = {option.split()[0]: before for option, before, _ in rows}
    assert told["--model"] == "instead of basic"
    assert told["--learning-rate"] == f"instead of {RECIPES['residual'].learning_rate:g}"
    assert "--shift" not in told, "the residual recipe's own"
    assert "--epochs" not in told, "the user's own"
