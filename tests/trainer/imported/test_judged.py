"""With labelled pictures, an imported model is calibrated, tested and judged by the gate."""

import json
from pathlib import Path

import numpy as np
import pytest

from registry.card import ModelCard
from tests.trainer.imported.conftest import Importing, draw
from tests.trainer.imported.foreign import CLASSES, saved, small

pytestmark = pytest.mark.tensorflow

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def certain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A model that is certain of everything, and labels of `IMAGES` of which it gets four in five."""
    model = small()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 20, bias])
    labels = np.asarray(model(IMAGES.astype(np.float32) / 255)).argmax(axis=1)
    wrong = np.random.default_rng(1).random(len(labels)) < 0.2
    labels[wrong] = np.random.default_rng(2).choice(np.unique(labels), wrong.sum())
    return saved(model, tmp_path_factory.mktemp("certain") / "model.keras"), labels


def test_it_is_calibrated_on_other_pictures_than_those_that_judge(
    importing: Importing, certain: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, labels = certain
    folder = draw(tmp_path / "held-out", IMAGES, labels)
    options = ("--range", "0-1", "--test", f"folder:{folder}", "--threshold", "recall_floor=0")
    code = importing(path, tmp_path, *options, "--force", "--reason", "any verdict will do")
    assert code == 0
    version = tmp_path / "models" / "imported" / "1"
    card = ModelCard.read(version)
    images = card.data["images"]
    assert images["test"] + images["calibration"] == 600
    assert 80 < images["calibration"] < 160
    assert card.metrics["calibration"]["temperature"] == card.config["temperature"] > 2
    measured = card.metrics["calibration"]
    assert measured["calibrated"]["nll"] < measured["raw"]["nll"] - 0.5
    assert {check["name"] for check in card.verdict["checks"]} >= {"accuracy_floor", "calibration", "infra"}
    assert json.loads((version / "assets.extra" / "evaluation.json").read_text())["test_accuracy"] > 0.7
    assert (version / "assets.extra" / "examples.png").is_file()
    text = (version / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "further images fitted the temperature" in text
    assert "## Accuracy by class" in text
    assert _answers(version, IMAGES[:5]).max() < 0.999


def test_a_bad_model_is_refused_with_the_gates_reasons(
    importing: Importing, certain: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, labels = certain
    folder = draw(tmp_path / "held-out", IMAGES[:100], np.roll(labels[:100], 1))
    assert importing(path, tmp_path, "--range", "0-1", "--test", f"folder:{folder}") == 3
    shown = capsys.readouterr()
    assert "Not calibrated" in shown.out
    assert "FAILED" in shown.out
    assert not (tmp_path / "models").exists()


def test_a_slow_flatbuffer_is_judged_against_the_one_that_is_served_on_fewer_corrupted_pictures(
    importing: Importing,
    certain: tuple[Path, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import keras
    import tensorflow as tf

    from trainer.imported import pipeline

    monkeypatch.setattr(pipeline, "ROBUSTNESS_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "FEWEST", 20)

    (path := tmp_path / "model.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_keras_model(keras.saving.load_model(certain[0])).convert()
    )
    folder = draw(tmp_path / "held-out", IMAGES[:200], certain[1][:200])
    options = ("--range", "0-1", "--test", f"folder:{folder}", "--threshold", "calibration_error=1")
    assert importing(path, tmp_path, *options, "--threshold", "recall_floor=0") == 0
    assert importing(path, tmp_path, *options, "--threshold", "recall_floor=0") == 0
    shown = capsys.readouterr().out
    assert "served version" in shown
    assert "Testing on 20 of them, each corrupted in 16 ways." in shown
    version = tmp_path / "models" / "imported" / "2"
    verdict = ModelCard.read(version).verdict
    assert verdict["accepted"]
    assert verdict["against"] == 1
    assert {"accuracy_kept", "robustness_kept"} <= {check["name"] for check in verdict["checks"]}
    assert "Accuracy on 20 corrupted test images." in (version / "assets.extra" / "MODEL_CARD.md").read_text()


def test_pictures_of_an_unknown_class_are_refused(
    importing: Importing, certain: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, labels = certain
    folder = draw(tmp_path / "held-out", IMAGES[:40], labels[:40] % 2)
    (folder / CLASSES[1]).rename(folder / "a bird")
    assert importing(path, tmp_path, "--range", "0-1", "--test", f"folder:{folder}") == 2
    assert "expected folders named like the classes of --classes; found a bird" in capsys.readouterr().err


def _answers(version: Path, images: np.ndarray) -> np.ndarray:
    from serving.model.tensorflow import SavedModelPredictor

    return SavedModelPredictor(version, 1).predict(images)
