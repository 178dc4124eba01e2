"""What is said after a training is true of what is then served."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from registry.card import ModelCard
from registry.models import MOST_SERVED
from registry.store import ModelStore
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.pipeline import RefusedError
from trainer.release.checks import Verdict
from trainer.release.finished import read
from trainer.release.thresholds import Thresholds
from trainer.report import refusal, summary, to_serve

pytestmark = pytest.mark.tensorflow


def test_a_push_beside_a_pinned_version_says_which_one_is_served(artifacts: Path, tmp_path: Path) -> None:
    name = "fashion_mnist_sample"
    shutil.copytree(artifacts / "models" / name, tmp_path / "models" / name)
    store = ModelStore(tmp_path / "models", name)
    assert to_serve(store, 1) == f"Serve it:  ARTIFACTS={tmp_path} make serve"
    for number in range(MOST_SERVED):
        shutil.copytree(store.path(1), tmp_path / "models" / f"other{number}" / "1")
    assert to_serve(store, 1) == f"Serve it:  ARTIFACTS={tmp_path} MODEL_NAME={name} make serve"
    shutil.copytree(store.path(1), store.path(2))
    store.pin(1)
    assert to_serve(store, 2) == "Version 1 is pinned, and is served until `.venv/bin/python -m registry unpin`."


def test_the_table_has_the_times_of_one_and_of_32_images_by_runtime(artifacts: Path, sample: ImageDataset) -> None:
    (directory,) = (artifacts / "runs").iterdir()
    run = read(directory, TrainConfig(**json.loads((directory / "config.json").read_text())), sample)
    store = ModelStore(artifacts / "models", "fashion_mnist_sample")
    header, row = summary([run], 1, store).splitlines()[1:3]
    assert header.endswith("  corrupted  TF ms, 1 / 32  LiteRT ms")
    assert re.search(r"  \d+\.\d\d / \d+\.\d\d +\d+\.\d\d / \d+\.\d\d$", row)

    earlier = {name: value for name, value in run.metrics.items() if name != "litert_latency_ms"}
    row = summary([replace(run, metrics=earlier)], 1, store).splitlines()[2]
    assert re.search(r"  \d+\.\d\d / \d+\.\d\d +-$", row), "a run of an earlier version can be pushed"


def test_a_run_whose_directory_was_renamed_is_reported(artifacts: Path, sample: ImageDataset) -> None:
    (directory,) = (artifacts / "runs").iterdir()
    run = read(directory, TrainConfig(**json.loads((directory / "config.json").read_text())), sample)
    store = ModelStore(artifacts / "models", "fashion_mnist_sample")
    renamed = replace(run, directory=directory.with_name("mine"))
    assert "Pushed basic as version 1 of fashion_mnist_sample" in summary([renamed], 1, store)


def test_the_command_that_forces_a_model_of_data_with_anomalies_allows_them(
    artifacts: Path, sample: ImageDataset, tmp_path: Path
) -> None:
    (finished,) = (artifacts / "runs").iterdir()
    directory = shutil.copytree(finished, tmp_path / "runs" / "mine")
    card = ModelCard.read(directory / "export")
    replace(card, data={**card.data, "anomalies": ["torn.png"]}).write(directory / "export")
    run = read(directory, TrainConfig(**json.loads((directory / "config.json").read_text())), sample)
    lines = refusal(RefusedError([run], run, Verdict(Thresholds(), ()))).splitlines()
    command = f"push mine --artifacts {tmp_path} --allow-anomalies --force --reason 'TEXT'"
    assert lines[-1] == f'To push it without training again:  make train ARGS="{command}"'
