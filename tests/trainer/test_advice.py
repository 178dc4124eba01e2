"""Advice names what would have passed and what to try, before training and after a refusal; following it helps."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.trainer import drawings
from trainer import advice
from trainer.config import TrainConfig
from trainer.release.thresholds import Thresholds


def trainer(*options: str, artifacts: Path, seconds: int = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *options, "--artifacts", str(artifacts)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def refused(confusion: list[list[int]], *checks: str, **changes: Any) -> list[str]:
    """What is advised for a model with this confusion matrix, which failed these checks."""
    config = TrainConfig(**{"batch_size": 8, "epochs": 100, "passes": 4, **changes})
    run = SimpleNamespace(
        config=config,
        evaluation=SimpleNamespace(confusion=np.array(confusion)),
        result=SimpleNamespace(history={"loss": [1.0, 0.5], "accuracy": [0.4, 0.5]}, best_epoch=1),
    )
    card = SimpleNamespace(data={"images": {"train": 39, "validation": 9, "test": int(np.sum(confusion))}})
    failed = tuple(SimpleNamespace(name=name, passed=False) for name in checks)
    return advice.after(run, card, SimpleNamespace(checks=failed, thresholds=Thresholds(), against=4))


def test_a_refusal_names_counts_and_steps_and_how_many_more_test_images_would_tell() -> None:
    lines = refused([[3, 1, 0], [1, 2, 1], [1, 1, 2]], "accuracy_floor", epochs=2)
    assert lines[0] == "It was trained on 39 images, 20 steps an epoch for 2 epochs, and tested on 12 images."
    assert lines[3].startswith("  - 2 more test images, if the model is as good on them; of pictures")
    assert lines[2] == "  - --epochs 100: 40 steps are few, 2,000 are usual."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "the model does not fit even its training images (accuracy 0.5000)"),
        ({"mirror": True}, "--no-mirror: augmentation may be the cause"),
    ],
)
def test_a_model_that_learned_nothing_in_many_steps_is_not_sent_to_train_longer(
    changes: dict[str, Any], expected: str
) -> None:
    lines = refused([[1, 2, 1], [1, 1, 2], [1, 2, 1]], "accuracy_floor", **changes)
    assert expected in "\n".join(lines)
    assert "--epochs" not in "\n".join(lines)


def test_test_images_of_one_class_alone_cannot_show_more_than_guessing() -> None:
    assert "Test images of at least two classes are needed" in "\n".join(refused([[9, 0], [0, 0]], "accuracy_floor"))


def test_a_residual_network_that_learned_nothing_is_not_sent_to_train_a_residual_network() -> None:
    lines = "\n".join(refused([[1, 2, 1], [1, 1, 2], [1, 2, 1]], "accuracy_floor", model="residual"))
    assert "the model does not fit even its training images" in lines
    assert "--model residual" not in lines


def test_a_model_that_is_worse_than_the_served_one_says_which_is_better() -> None:
    assert "until then, version 4 is the better one" in refused([[4, 0], [0, 4]], "accuracy_kept", "recall_kept")[-1]


def test_advise_tells_what_would_be_trained_without_training(tmp_path: Path) -> None:
    folder = drawings.shapes(tmp_path / "shapes", {"circle": 20, "square": 20, "triangle": 20})
    done = trainer("--dataset", f"folder:{folder}", "--epochs", "7", "--advise", artifacts=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 classes, images of 32 x 32 x 3; 40 train (11 to 15 of a class), 7 validate, 13 test." in done.stdout
    assert "--batch-size 8" in done.stdout
    assert "--passes 4" in done.stdout
    assert "Would train residual: adamw " in done.stdout
    assert ", 7 epochs, " in done.stdout
    assert "An epoch has 20 steps, the training at most 140." in done.stdout
    needed = "the gate needs more than 0.5910 as mean recall of the classes."
    assert f"To be significantly above 0.3333 on the test images, {needed}" in done.stdout
    assert "--epochs" not in done.stdout
    assert not (tmp_path / "runs").exists()


def test_as_many_test_images_as_advised_are_enough_to_tell(tmp_path: Path) -> None:
    """Two classes of three pictures have a test picture each, which proves nothing even if both are right."""
    folder = drawings.shapes(tmp_path / "shapes", {"circle": 3, "square": 3})
    options = ["--dataset", f"folder:{folder}", "--advise"]
    few = trainer(*options, artifacts=tmp_path).stdout
    needed = int(re.search(r"Too few test images: even if all (\d+) were.* At least (\d+) are needed", few).group(2))
    drawings.shapes(folder, {"circle": 5 * needed, "square": 5 * needed}, first=3)  # of which a fifth test
    enough = trainer(*options, artifacts=tmp_path).stdout
    assert "Too few" not in enough
    assert "To be significantly above 0.5000 on the test images, the gate needs " in enough


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.tensorflow
def test_sixty_pictures_in_three_classes_are_accepted_when_the_advice_after_a_refusal_is_followed(
    tmp_path: Path,
) -> None:
    folder = drawings.shapes(tmp_path / "shapes", {"circle": 20, "square": 20, "triangle": 20})
    options = ["--dataset", f"folder:{folder}", "--passes", "1"]
    first = trainer(*options, "--epochs", "1", artifacts=tmp_path, seconds=600)
    assert first.returncode == 3, first.stderr
    assert "It was trained on 40 images, 5 steps an epoch for 1 epoch, and tested on 13 images." in first.stdout
    (epochs,) = re.findall(r"--epochs \d+", first.stdout)
    second = trainer(*options, *epochs.split(), artifacts=tmp_path, seconds=1800)
    assert second.returncode == 0, second.stdout


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.tensorflow
def test_two_unbalanced_classes_are_accepted_when_the_advice_before_training_is_followed(tmp_path: Path) -> None:
    folder = drawings.shapes(tmp_path / "shapes", {"circle": 500, "cross": 20})
    options = ["--dataset", f"folder:{folder}"]
    assert trainer(*options, artifacts=tmp_path).stderr == (
        "error: The data has anomalies:\n"
        "  - Expected at least 3 test images of each class, found 2 of cross: add more.\n"
        "To train on it nevertheless, pass --allow-anomalies.\n"
    )
    drawings.shapes(folder, {"circle": 0, "cross": 10}, first=20)
    done = trainer(*options, artifacts=tmp_path, seconds=1800)
    assert done.returncode == 0, done.stdout
    assert "--class-weights" in done.stdout


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.tensorflow
def test_thirty_classes_of_twelve_pictures_are_accepted(tmp_path: Path) -> None:
    folder = drawings.textures(tmp_path / "textures", 12)
    done = trainer("--dataset", f"folder:{folder}", artifacts=tmp_path, seconds=1800)
    assert done.returncode == 0, done.stdout
