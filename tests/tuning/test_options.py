"""How a search is called, and what its model is; a search is of one state of the data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import SAMPLE
from trainer.adaptation import Counts
from trainer.config import RunOptions, TrainConfig
from trainer.data.dataset import DataError, ImageDataset
from trainer.recipes import RECIPES
from tuning.__main__ import adaptation, options_of, parser, search_of
from tuning.options import SearchOptions
from tuning.space import Search, SearchError
from tuning.workers import SUPERVISED


def options(*arguments: str) -> SearchOptions:
    given = parser().parse_args(arguments)
    return options_of(given, search_of(given))


@pytest.mark.parametrize(
    ("arguments", "search", "model"),
    [
        ([], "fashion_mnist", "fashion_mnist"),
        (["--dataset", "cifar10:3.0.2"], "cifar10", "cifar10"),
        (["--dataset", "mnist:3.0.1", "--name", "digits"], "digits", "mnist"),
        (["--dataset", "folder:/data/花", "--model-name", "flowers"], "flowers", "flowers"),
        (["--dataset", "folder:/data/собаки/"], "собаки", "собаки"),
    ],
)
def test_a_search_is_called_as_its_model_unless_it_has_a_name(arguments: list[str], search: str, model: str) -> None:
    found = options(*arguments)
    assert (found.name, found.runs.name) == (search, model)


def test_a_search_in_the_folder_of_the_data_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    assert options("--dataset", "folder:.").directory.name == "pets"


def test_a_folder_without_a_usable_name_needs_one() -> None:
    with pytest.raises(DataError, match="with --model-name"):
        options("--dataset", "folder:/data/\N{DOG}")


@pytest.mark.tensorflow
def test_a_worker_mixes_no_trials_of_other_data_into_a_search(
    tmp_path: Path, sample: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuning import pipeline

    settings = SearchOptions(RunOptions(tmp_path, name="clothes"), name="small")
    settings.directory.mkdir(parents=True)
    (settings.directory / "search.json").write_text(json.dumps({"data": "ab" * 32}))
    monkeypatch.setenv(SUPERVISED, "1")
    with pytest.raises(SearchError, match=r"tuning/small has changed since it began\. --fresh starts over"):
        pipeline.work(Search(TrainConfig(dataset=f"idx:{SAMPLE}")), settings, sample)


@pytest.mark.tensorflow
def test_a_search_on_a_small_set_has_longer_trials_smaller_batches_and_the_residual_network() -> None:
    small, large = Counts((13,) * 3, 9, (4,) * 3, 64), Counts((4800,) * 10, 12_000, (1000,) * 10, 28)
    given = parser().parse_args(["--space", "full"])
    search = search_of(given, small)
    assert search.epochs == round(4 * search.base.epochs / RECIPES["default"].epochs) > 4
    choices = {each.name: list(each.values) for each in search.hyperparameters().space}
    assert choices["batch_size"] == [8, 16, 32, 64]
    assert choices["model"] == ["basic", "deep", "residual"]
    assert search_of(given, large) == search_of(given)
    assert search_of(parser().parse_args(["--epochs", "3"]), small).epochs == 3
    longer = search_of(parser().parse_args(["--space", "full", "--final-epochs", "50"]), small)
    assert longer.epochs == search.epochs
    assert longer.base == replace(search.base, epochs=50)
    assert longer.identity() == search.identity()


@pytest.mark.tensorflow
def test_other_final_epochs_leave_the_patience_of_long_trials_and_the_search_as_they_are() -> None:
    small, values = Counts((13,) * 3, 9, (4,) * 3, 64), {"learning_rate": 0.01, "optimizer": "adam", "model": "deep"}
    before, after = (
        search_of(parser().parse_args(["--epochs", "40", *more]), small) for more in ([], ["--final-epochs", "200"])
    )
    assert 0 < before.base.patience < 40
    assert after.identity() == before.identity()
    assert after.config(values, 3) == before.config(values, 3)
    full = after.full_config(values, 3, seed=1)
    assert (full.epochs, full.patience) == (200, 0)


def test_what_is_told_of_a_small_set_is_true_of_the_full_trainings() -> None:
    small = Counts((13,) * 3, 9, (4,) * 3, 64)
    told, longer = (adaptation(parser().parse_args(more), small) for more in ([], ["--final-epochs", "50"]))
    for each in (told, longer):
        assert f"instead of {RECIPES['residual'].learning_rate:g}" in each, "the rate of the residual network's recipe"
    assert "--patience" in told
    assert "--patience" not in longer
    assert "--epochs" not in longer


@pytest.mark.tensorflow
@pytest.mark.parametrize("images", [13, 4800])
def test_images_too_small_for_other_models_are_searched_with_the_basic_one(images: int) -> None:
    tiny = Counts((images,) * 3, 9, (4,) * 3, 7)
    search = search_of(parser().parse_args(["--space", "full"]), tiny)
    assert "model" not in search.free
    values = {each.name: each.default for each in search.hyperparameters().space}
    assert search.config(values, 0).model == "basic"
    assert "model" in search_of(parser().parse_args([]), replace(tiny, side=8)).free
