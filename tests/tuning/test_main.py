"""The command that a user types: one clear line for a mistake, a pushed model and a page at the end."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry.store import ModelStore
from tests.conftest import ROOT, SAMPLE

pytestmark = pytest.mark.tensorflow

TINY = ["--dataset", f"idx:{SAMPLE}", "--epochs", "2", "--final-epochs", "2", "--final-seeds", "1", "--finalists", "1"]
# So few images and epochs make no model that the gate would accept.
EASY = [*TINY, "--deterministic", "--force", "--reason", "a test"]


def tune(*options: str, artifacts: Path, seconds: float = 900, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tuning", *options, "--artifacts", str(artifacts)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def rows(artifacts: Path) -> list[dict[str, str]]:
    """The finished trials, without the times that they took."""
    (path,) = artifacts.glob("tuning/*/trials.csv")
    with path.open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trials", "0"], "`trials` must be at least 1. Received: 0."),
        (["--algorithm", "luck"], "`algorithm` must be one of random, bayesian, hyperband, grid. Received: luck."),
        (["--space", "all"], "`space` must be one of default, full. Received: all."),
        (["--epochs", "0"], "`epochs` must be at least 1 and at most 10000. Received: 0."),
        (["--workers", "0"], "`workers` must be at least 1. Received: 0."),
        (["--time-limit", "0"], "`time_limit` must be above 0 minutes. Received: 0.0."),
        (["--optimizer", "lion"], "`optimizer` must be one of sgd, momentum, rmsprop, adam, adamw. Received: lion."),
        (
            ["--model", "no_such_module:net"],
            "whose import fails: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (["--name", "../models"], "`name` must be of letters and digits of any script, '_', '.' and '-', not begin"),
        (["--name", ".."], "Received: ..."),
        (["--resume", "a"], "`resume` is for a run of the trainer; to continue a search, run the same command again."),
        (
            ["--model", "deep", "--optimizer", "adam", "--learning-rate", "0.1"],
            "The space default has nothing left to search: model, optimizer, learning_rate are fixed.",
        ),
        (["--dataset", "idx:/nowhere"], "/nowhere: expected a folder with four IDX files; there is none."),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(options: list[str], expected: str, tmp_path: Path) -> None:
    done = tune(*options, artifacts=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert expected in line
    assert not list(tmp_path.glob("tuning/*/*"))


def test_half_of_keras_tuners_variables_are_not_enough(tmp_path: Path) -> None:
    done = tune(artifacts=tmp_path, KERASTUNER_TUNER_ID="tuner0")
    assert done.returncode == 2
    assert "Missing: KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT." in done.stderr


def test_a_search_over_other_classes_than_the_served_model_s_is_refused_at_once(
    artifacts: Path, tmp_path: Path
) -> None:
    shutil.copytree(artifacts / "models", tmp_path / "models")
    data = shutil.copytree(SAMPLE, tmp_path / "fashion_mnist_sample")
    (data / "classes.txt").write_text("".join(f"{number}\n" for number in range(10)))
    done = tune("--dataset", f"idx:{data}", artifacts=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is served (version 1), with classes T-shirt/top, " in line
    assert not list(tmp_path.glob("tuning/*/*"))


@pytest.mark.slow
def test_a_search_pushes_its_best_reports_and_is_not_mixed_with_another(tmp_path: Path) -> None:
    done = tune(*EASY, "--trials", "2", artifacts=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "trial 2 of 2, " in done.stdout
    assert len(rows(tmp_path)) == 2
    assert ModelStore(tmp_path / "models", SAMPLE.name).versions() == [1]
    page = tmp_path / "tuning" / SAMPLE.name / "report.html"
    assert f"Report:    {page}" in done.stdout
    assert "pushed as version 1" in page.read_text()

    other = tune(*EASY, "--trials", "2", "--space", "full", "--seed", "1", artifacts=tmp_path)
    assert other.returncode == 2
    assert "space is default there, full was asked for; " in other.stderr
    assert "seed is 0 there, 1 was asked for" in other.stderr
    assert "base." not in other.stderr
    assert "--fresh replaces it" in other.stderr

    again = tune(*EASY, "--trials", "2", artifacts=tmp_path)
    assert again.returncode == 0
    assert "The search is finished" in again.stdout
    assert ModelStore(tmp_path / "models", SAMPLE.name).versions() == [1]


@pytest.mark.slow
def test_a_small_space_is_searched_once_and_a_refusal_stands_until_it_is_overruled(tmp_path: Path) -> None:
    five = [*TINY, "--model", "basic", "--learning-rate", "0.01", "--threshold", "accuracy_floor=0.99"]
    first = tune(*five, artifacts=tmp_path)
    assert first.returncode == 3, first.stderr
    assert len(rows(tmp_path)) == 5  # optimizers
    again = tune(*five, artifacts=tmp_path)
    assert again.returncode == 3
    assert "The search is finished" in again.stdout
    overruled = tune(*five, "--force", "--reason", "a test", artifacts=tmp_path)
    assert overruled.returncode == 0, overruled.stderr
    assert ModelStore(tmp_path / "models", SAMPLE.name).versions() == [1]


@pytest.mark.slow
def test_data_that_changes_during_a_search_ends_it_before_the_finalists_are_trained(tmp_path: Path) -> None:
    data = shutil.copytree(SAMPLE, tmp_path / "clothes")
    command = [sys.executable, "-m", "tuning", *EASY, "--dataset", f"idx:{data}", "--trials", "2"]
    with subprocess.Popen(
        [*command, "--artifacts", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as search:
        for line in search.stdout:
            if line.startswith("trial 1 of 2, "):
                labels = data / "train-labels-idx1-ubyte.gz"
                content = bytearray(gzip.decompress(labels.read_bytes()))
                content[-1] = 9 - content[-1]
                labels.write_bytes(gzip.compress(content))
        assert search.wait(300) == 2
        (error,) = search.stderr.read().splitlines()
    assert "tuning/clothes has changed since it began" in error
    assert not (tmp_path / "runs").exists()


def test_a_directory_that_holds_no_search_is_not_cleared(tmp_path: Path) -> None:
    kept = tmp_path / "tuning" / SAMPLE.name / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    done = tune(*EASY, "--fresh", artifacts=tmp_path)
    assert done.returncode == 2
    assert "must be empty or hold a search" in done.stderr
    assert kept.read_text() == "mine"


@pytest.mark.slow
def test_a_search_of_an_earlier_version_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "tuning" / SAMPLE.name / "search.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"space": "default", "fixed": [], "algorithm": "bayesian", "base": {}}))
    done = tune(*EASY, artifacts=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{path.parent} holds another search: it was begun with an earlier version of this project. --fresh" in line


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_damaged_settings_of_a_search_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tuning" / SAMPLE.name / "search.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    done = tune(*EASY, artifacts=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{path}: expected the settings of a search" in line
