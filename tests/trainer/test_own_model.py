"""The architecture that a user's function builds goes the way of any other, from the command line to the service."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from registry.card import ModelCard
from serving.model.served import Served
from serving.settings import Settings
from tests.conftest import ROOT, SAMPLE
from tests.serving.bridged import bridged
from tests.trainer import drawings

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(1800)]

MODULE = """
import keras
from keras import layers

class Scale(layers.Layer):  # which Keras alone cannot load
    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, pixels):
        return self.scale * pixels / 255

def tiny(shape, classes):
    return keras.Sequential([Scale(), layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(classes)])

def mobilenet(shape, classes):
    images = keras.Input(shape)
    pixels = layers.Rescaling(1 / 127.5, offset=-1)(images)
    backbone = keras.applications.MobileNetV2(shape, alpha=0.35, include_top=False, weights=None, pooling="avg")
    return keras.Model(images, layers.Dense(classes)(backbone(pixels)))
"""
FORCED = ["--force", "--reason", "a test"]  # so few images and epochs make no model that the gate would accept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's directory."""
    (tmp_path / "my_models.py").write_text(MODULE)
    return tmp_path


def command(folder: Path, *given: str) -> str:
    """What `python -m` says there."""
    done = subprocess.run(
        [sys.executable, "-m", *given],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


def answers(version: Path, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The probabilities of two images, by each runtime."""
    from serving.model.litert import LiteRTPredictor
    from serving.model.tensorflow import SavedModelPredictor

    card = ModelCard.read(version)
    images = np.random.default_rng(0).integers(0, 256, (2, *shape))
    found = []
    for predictor in (SavedModelPredictor(version, 1), LiteRTPredictor(version, 1)):
        client = bridged(Served(predictor), Settings())
        reply = client.post("/predict", json={"images": images.tolist()}).get_json()["predictions"]
        found.append(np.array([[each["probabilities"][name] for name in card.classes] for each in reply]))
    return found


@pytest.mark.parametrize(
    ("function", "shape"),
    [("tiny", (28, 28, 1)), pytest.param("mobilenet", (32, 32, 3), marks=pytest.mark.long)],
)
def test_a_users_architecture_is_trained_pushed_and_served(folder: Path, function: str, shape: tuple[int, ...]) -> None:
    colour = shape[2] == 3
    data = f"folder:{drawings.shapes(folder / 'shapes', {'circle': 20, 'square': 20})}" if colour else f"idx:{SAMPLE}"
    options = ["--dataset", data, "--epochs", "1", "--passes", "1", "--name", "own"]
    said = command(folder, "trainer", "--model", f"my_models:{function}", *options, *FORCED)
    assert f"Pushed my_models:{function} as version 1 of own" in said
    (run,) = (folder / "artifacts" / "runs").iterdir()
    assert run.name.endswith(f"-my_models.{function}")
    assert (run / "figures" / "curves.png").is_file()
    version = folder / "artifacts" / "models" / "own" / "1"
    (infra,) = (check for check in ModelCard.read(version).verdict["checks"] if check["name"] == "infra")
    assert infra["passed"], infra["sentence"]
    by_tensorflow, by_litert = answers(version, shape)
    assert np.allclose(by_tensorflow, by_litert, atol=1e-4)
    assert np.allclose(by_tensorflow.sum(axis=1), 1, atol=1e-4)
    if function == "tiny":
        assert "version 2 of own" in command(folder, "trainer", "push", run.name, *FORCED)


def test_a_search_tunes_a_users_architecture(folder: Path) -> None:
    options = ["--dataset", f"idx:{SAMPLE}", "--epochs", "1", "--final-epochs", "1", "--final-seeds", "1"]
    options += ["--trials", "1", "--finalists", "1"]
    said = command(folder, "tuning", "--model", "my_models:tiny", *options, *FORCED)
    assert "Pushed my_models:tiny as version 1" in said
