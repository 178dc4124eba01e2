"""The whole way leaves a complete run and a complete version, or the versions that were there before."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from registry.store import ModelStore
from tests.conftest import SAMPLE
from trainer import pipeline
from trainer.config import TrainConfig

QUICK = TrainConfig(dataset=f"idx:{SAMPLE}", optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=1)


def test_a_run_directory_holds_everything_about_the_run(artifacts: Path) -> None:
    (run,) = (artifacts / "runs").iterdir()
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "history.csv",
        "model.keras",
        "evaluation.json",
        "figures",
    }
    assert TrainConfig(**json.loads((run / "config.json").read_text())).epochs == 6
    evaluation = json.loads((run / "evaluation.json").read_text())
    low, high = evaluation["interval"]
    assert low < evaluation["accuracy"] < high
    assert sum(map(sum, evaluation["confusion"])) == 200


@pytest.mark.parametrize("name", ["curves", "confusion", "sheet"])
def test_a_figure_is_a_picture_with_something_on_it(artifacts: Path, name: str) -> None:
    (path,) = artifacts.glob(f"runs/*/figures/{name}.png")
    with Image.open(path) as image:
        assert min(image.size) >= 400
        assert len(image.convert("L").getcolors()) > 20


def test_the_card_tells_what_the_version_is(artifacts: Path) -> None:
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    assert card.classes[9] == "Ankle boot"
    assert (card.input.name, card.input.shape) == ("images", (28, 28, 1))
    assert card.data["images"] == {"train": 400, "validation": 100, "test": 200}
    assert card.metrics["parameters"] == 402_986
    assert card.metrics["test_accuracy"] > 0.5
    assert len(card.metrics["history"]["val_accuracy"]) == 6
    assert card.run in {path.name for path in (artifacts / "runs").iterdir()}
    assert card.files["saved_model.pb"]


def test_the_better_model_by_validation_accuracy_is_pushed(tmp_path: Path) -> None:
    good, bad = replace(QUICK, epochs=3), replace(QUICK, optimizer="sgd", learning_rate=1e-6)
    runs, version, store = pipeline.run([bad, good], tmp_path)
    assert runs[1].result.validation_accuracy > runs[0].result.validation_accuracy
    assert store.card(version).config["learning_rate"] == good.learning_rate


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_while_publishing_leaves_the_version_before_whole(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", models], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.strip()}")
    try:
        _, version, store = pipeline.run([QUICK], tmp_path)
        with pytest.raises(OSError, match="No space left"):
            pipeline.run([QUICK], tmp_path)
        assert store.versions() == [version]
        assert store.verify() == []
        assert not list((models / ".staging").rglob("saved_model.pb"))
    finally:
        subprocess.run(["umount", models], check=True)
