"""Worse models are refused for what is wrong with them, and an equal one passes."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from registry.store import ModelStore
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation.metrics import calibrated_temperature, evaluate
from trainer.evaluation.robustness import robustness
from trainer.release.checks import Check, Verdict
from trainer.release.thresholds import Thresholds
from trainer.release.verdict import judge
from trainer.training.fit import train

pytestmark = pytest.mark.tensorflow

CONFIG = TrainConfig(optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=6)
# With 20 test images a class, a class that is lost shows only against a floor well above guessing. How well so few
# images calibrate is luck, and test_checks.py has it.
THRESHOLDS = Thresholds(recall_floor=0.3, calibration_error=0.2)


@pytest.fixture
def store(artifacts: Path) -> ModelStore:
    """A store that serves a model trained on the sample as it is."""
    return ModelStore(artifacts / "models", "fashion_mnist_sample")


def judged(model: keras.Model, sample: ImageDataset, store: ModelStore, card_store: ModelStore) -> Verdict:
    evaluation = evaluate(model, sample.test, 10, calibrated_temperature(model, sample.validation))
    robust = robustness(model.predict_on_batch, sample.test)
    # These tests are about the statistics; test_live_server.py has the server.
    live = Check("infra", True, 0.0, 1e-3, "Not asked here.")
    return judge(card_store.card(1), live, evaluation, robust, sample, store, THRESHOLDS)


def failed(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.sentence for check in verdict.checks if not check.passed}


def trained_on(split: Split, sample: ImageDataset, folder: Path, seed: int = 1) -> keras.Model:
    folder /= f"seed-{seed}"
    folder.mkdir()
    return train(replace(CONFIG, seed=seed), replace(sample, train=split), folder).model


@pytest.fixture
def served_model(artifacts: Path) -> keras.Model:
    (path,) = artifacts.glob("runs/*/model.keras")
    return keras.saving.load_model(path, compile=False)


def test_a_model_trained_on_wrong_labels_is_no_better_than_guessing(
    sample: ImageDataset, store: ModelStore, tmp_path: Path
) -> None:
    wrong = (sample.train.labels + 5) % 10
    model = trained_on(Split(sample.train.images, wrong), sample, tmp_path)
    for against in (store, ModelStore(tmp_path / "models", store.name)):
        reasons = failed(judged(model, sample, against, store))
        assert "not significantly above what guessing gets, 0.1000" in reasons["accuracy_floor"]
    assert "; worse by significantly more than 0.005" in failed(judged(model, sample, store, store))["accuracy_kept"]


def test_a_class_that_was_dropped_is_named(sample: ImageDataset, store: ModelStore, tmp_path: Path) -> None:
    kept = sample.train.labels != sample.classes.index("Trouser")
    model = trained_on(Split(sample.train.images[kept], sample.train.labels[kept]), sample, tmp_path)
    reasons = failed(judged(model, sample, store, store))
    assert "Trouser (0 of 20 images)" in reasons["recall_floor"]
    assert "for Trouser (-" in reasons["recall_kept"]
    assert "accuracy_floor" not in reasons


def test_weights_quantised_to_noise_are_refused(
    sample: ImageDataset, store: ModelStore, served_model: keras.Model
) -> None:
    coarse = [np.round(each / (4 * each.std() + 1e-9)) * 4 * each.std() for each in served_model.get_weights()]
    served_model.set_weights(coarse)
    reasons = failed(judged(served_model, sample, store, store))
    assert "; worse by significantly more than 0.005" in reasons["accuracy_kept"]
    assert "recall_kept" in reasons


def test_the_served_model_itself_passes_and_so_do_most_of_another_seed(
    sample: ImageDataset, store: ModelStore, served_model: keras.Model, tmp_path: Path
) -> None:
    verdict = judged(served_model, sample, store, store)
    assert verdict.accepted
    assert verdict.against == 1
    (same,) = (check for check in verdict.checks if check.name == "accuracy_kept")
    assert same.value == 1
    assert "0 images are classified correctly only by this model, 0 only by that one" in same.sentence
    others = (judged(trained_on(sample.train, sample, tmp_path, seed), sample, store, store) for seed in (1, 2, 3))
    assert sum(each.accepted for each in others) >= 2


def test_the_first_version_ever_has_to_pass_absolute_checks_only(
    sample: ImageDataset, store: ModelStore, served_model: keras.Model, tmp_path: Path
) -> None:
    verdict = judged(served_model, sample, ModelStore(tmp_path, store.name), store)
    assert verdict.accepted
    assert verdict.against is None
    assert [check.name for check in verdict.checks] == ["accuracy_floor", "recall_floor", "calibration", "infra"]


@pytest.mark.parametrize("damage", ["saved_model.pb", "assets.extra/model_card.json"])
def test_a_served_version_that_is_damaged_is_a_reason_and_no_crash(
    damage: str, sample: ImageDataset, store: ModelStore, served_model: keras.Model, tmp_path: Path
) -> None:
    broken = ModelStore(tmp_path, store.name)
    with broken.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"not a graph")
        broken.publish(staged, store.card(1))
    (broken.path(1) / damage).write_bytes(b"damaged")
    reasons = failed(judged(served_model, sample, broken, store))
    assert reasons.keys() == {"served_version"}
    assert "Version 1, which is served, cannot be compared with: " in reasons["served_version"]


def test_the_pinned_version_is_the_one_to_beat(
    sample: ImageDataset, store: ModelStore, served_model: keras.Model, tmp_path: Path
) -> None:
    other = ModelStore(tmp_path, store.name)
    for shape in ((28, 28, 1), (32, 32, 1)):
        with other.stage() as staged:
            (staged / "saved_model.pb").write_bytes(b"not a graph")
            card = store.card(1)
            other.publish(staged, replace(card, input=replace(card.input, shape=shape)))
    reasons = failed(judged(served_model, sample, other, store))
    assert "input TensorSpec(name='images', shape=(28, 28, 1)" in reasons["same_kind"]
    other.pin(1)
    assert "Version 1, which is served" in failed(judged(served_model, sample, other, store))["served_version"]
