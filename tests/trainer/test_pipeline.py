"""The whole way leaves a complete run and a complete version, or the versions that were there before."""

import itertools
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from registry.card import CARD_PATH, ModelCard
from registry.disk import hashes
from registry.store import ModelStore, RegistryError
from tests.conftest import SAMPLE, train_and_push
from tests.trainer.folders import folder_of
from trainer import pipeline
from trainer import run as training_runs
from trainer.config import RunOptions, TrainConfig
from trainer.data.checks import AnomalyError
from trainer.data.dataset import DataError, ImageDataset
from trainer.evaluation import metrics
from trainer.evaluation.calibration import fit_temperature, softmax
from trainer.evaluation.robustness import CORRUPTIONS
from trainer.prepare import prepare, prepare_push
from trainer.release.checks import Check, Verdict
from trainer.release.exported import SavedModel
from trainer.training import checkpoint
from trainer.training.checkpoint import CheckpointError
from trainer.training.fit import DivergedError

pytestmark = pytest.mark.tensorflow

QUICK = TrainConfig(dataset=f"idx:{SAMPLE}", optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=1)
LENIENT = {"accuracy_floor": 0.0, "calibration_error": 1.0}  # for tests that are not about what QUICK has learned


def test_a_run_directory_holds_everything_about_the_run(artifacts: Path) -> None:
    (run,) = (artifacts / "runs").iterdir()
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        "config.json",
        "model_name.txt",
        "history.csv",
        "model.keras",
        "evaluation.json",
        "verdict.json",
        "statistics.json",
        "schema.json",
        "figures",
        "export",
        "familiar.npz",
        "examples.png",
        "examples.json",
    }
    assert TrainConfig(**json.loads((run / "config.json").read_text())).epochs == 6
    evaluation = json.loads((run / "evaluation.json").read_text())
    low, high = evaluation["test_interval"]
    assert low < evaluation["test_accuracy"] < high
    assert sum(map(sum, evaluation["confusion"])) == 200
    assert set(evaluation["per_class"]["Shirt"]) == {"precision", "recall", "f1", "images"}
    raw, calibrated = (evaluation["calibration"][each] for each in ("raw", "calibrated"))
    assert sum(raw["counts"]) == sum(calibrated["counts"]) == 200
    assert raw["nll"] > 0 < calibrated["brier"] < 2
    assert evaluation["robustness"].keys() == CORRUPTIONS.keys()
    for latency in (evaluation["latency_ms"], evaluation["litert_latency_ms"]):
        assert 0 < latency["single"] <= latency["single_p95"]
        assert latency["batch_size"] == 32
    assert evaluation == ModelStore(artifacts / "models", "fashion_mnist_sample").card(1).metrics


@pytest.mark.parametrize("name", ["curves", "confusion", "reliability", "robustness", "sheet"])
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
    assert card.data["statistics"]["splits"]["test"]["classes"]["Shirt"] == 20
    assert card.data["anomalies"] == []
    assert card.metrics["parameters"] == 402_986
    assert card.metrics["test_accuracy"] > 0.5
    assert len(card.metrics["history"]["val_accuracy"]) == 6
    assert card.run in {path.name for path in (artifacts / "runs").iterdir()}
    assert card.files["saved_model.pb"]
    assert card.files["assets.extra/model.tflite"]
    assert card.metrics["litert"]["difference"] < 1e-3
    assert card.metrics["per_class"]["Bag"]["images"] == 20
    assert card.metrics["calibration"]["raw"]["ece"] != card.metrics["calibration"]["calibrated"]["ece"]


def test_the_probabilities_served_are_the_calibrated_ones(artifacts: Path, sample: ImageDataset) -> None:
    store = ModelStore(artifacts / "models", "fashion_mnist_sample")
    (path,) = artifacts.glob("runs/*/model.keras")
    model = keras.saving.load_model(path, compile=False)
    temperature = store.card(1).metrics["calibration"]["temperature"]
    fitted = fit_temperature(model.predict(sample.validation.images, verbose=0), sample.validation.labels)
    assert temperature == pytest.approx(fitted, rel=1e-3)
    served = SavedModel(store.path(1)).predict(sample.test.images)
    np.testing.assert_allclose(served, softmax(model.predict(sample.test.images, verbose=0), temperature), atol=1e-5)


@pytest.mark.usefixtures("without_server")
def test_the_temperature_is_fitted_on_the_validation_images_and_not_on_those_that_test(
    tmp_path: Path, sample: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A temperature that tells how many images it was fitted on: there are 100 of the first, and 200 of the others.
    monkeypatch.setattr(metrics, "fit_temperature", lambda logits, labels: len(labels) / 50)
    runs, version, store = train_and_push([QUICK], tmp_path, reason="a test")
    assert store.card(version).metrics["calibration"]["temperature"] == 2
    served = SavedModel(store.path(version)).predict(sample.test.images)
    logits = runs[0].result.model.predict(sample.test.images, verbose=0)
    np.testing.assert_allclose(served, softmax(logits, 2.0), atol=1e-5)


def test_the_gate_s_verdict_lies_with_the_run_and_in_the_card(artifacts: Path) -> None:
    verdict = json.loads(next(artifacts.glob("runs/*/verdict.json")).read_text())
    assert verdict == ModelStore(artifacts / "models", "fashion_mnist_sample").card(1).verdict
    assert (verdict["accepted"], verdict["forced"], verdict["against"]) == (True, None, None)
    assert verdict["checks"][-1]["name"] == "infra"
    assert all(check["passed"] and check["sentence"].endswith(".") for check in verdict["checks"])


def test_the_card_in_words_has_what_a_user_must_know(artifacts: Path) -> None:
    extra = artifacts / "models" / "fashion_mnist_sample" / "1" / "assets.extra"
    text = (extra / "MODEL_CARD.md").read_text()
    for section in ("Intended use", "Data", "Accuracy by class", "Calibration", "Robustness", "Limits", "Verdict"):
        assert f"\n## {section}\n" in text
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    shirt = card.metrics["per_class"]["Shirt"]
    assert f"| Shirt | {shirt['precision']:.4f} | {shirt['recall']:.4f} |" in text
    assert "The gate accepted it." in text
    assert "The test images chose none of these, but the gate decides on them" in text
    assert card.data["sha256"] in text
    assert {path.name for path in (extra / "figures").iterdir()} >= {"reliability.png", "robustness.png"}


@pytest.fixture
def without_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate without its infra check: a server takes seconds to start, and other tests of this file start one."""
    monkeypatch.setattr(pipeline, "infra", lambda *_: Check("infra", True, 0.0, 1e-3, "Left out."))


@pytest.mark.usefixtures("without_server")
def test_a_refused_model_enters_models_only_by_force_which_the_card_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    high = {"accuracy_floor": 0.999}
    with pytest.raises(pipeline.RefusedError, match=r"not significantly above the floor, 0\.9990") as refused:
        train_and_push([QUICK], tmp_path, overrides=high)
    assert not (tmp_path / "models" / "fashion_mnist_sample").exists()
    directory = refused.value.best.directory
    verdict = json.loads((directory / "verdict.json").read_text())
    assert (verdict["accepted"], verdict["thresholds"]["accuracy_floor"]) == (False, 0.999)
    assert not list(directory.glob(".candidate-*")) + list(directory.glob(".export-*"))

    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr(training_runs, "train", None)  # nothing is trained again
    options = RunOptions(tmp_path, name="clothes", overrides=high, reason="the demonstration is today")
    card = (directory / "export" / CARD_PATH).read_bytes()
    _, version, store = pipeline.push_finished(directory, *prepare_push(directory, options), options.reason)
    assert (directory / "export" / CARD_PATH).read_bytes() == card, "a full disk could cost the run its card"
    assert (store.name, store.card(version).name) == ("clothes", "clothes")
    assert store.card(version).files.items() >= hashes(directory / "export").items()
    told = store.card(version).verdict
    assert told is not None
    assert (told["accepted"], told["forced"], told["forced_by"]) == (False, "the demonstration is today", "ada")
    text = (store.path(version) / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "The gate refused it; ada pushed it nevertheless, because: the demonstration is today" in text
    assert store.verify() == []


def test_a_run_whose_data_has_changed_is_not_pushed(artifacts: Path, tmp_path: Path) -> None:
    (run,) = (artifacts / "runs").iterdir()
    shutil.copytree(run, tmp_path / "runs" / run.name)
    card = ModelCard.read(run / "export")
    replace(card, data={**card.data, "sha256": "0" * 64}).write(tmp_path / "runs" / run.name / "export")
    with pytest.raises(
        CheckpointError, match=r"its data has changed since, so that it cannot be judged\. Train again\."
    ):
        prepare_push(tmp_path / "runs" / run.name, RunOptions(tmp_path))


def test_a_run_whose_class_names_have_changed_is_not_pushed(artifacts: Path, tmp_path: Path) -> None:
    (run,) = (artifacts / "runs").iterdir()
    shutil.copytree(run, tmp_path / "runs" / run.name)
    card = ModelCard.read(run / "export")
    replace(card, classes=("Tshirt", *card.classes[1:])).write(tmp_path / "runs" / run.name / "export")
    with pytest.raises(CheckpointError, match=r"its class names have changed since from Tshirt, .* to T-shirt/top, "):
        prepare_push(tmp_path / "runs" / run.name, RunOptions(tmp_path))


def test_a_run_that_is_not_finished_is_not_pushed(artifacts: Path, tmp_path: Path) -> None:
    (run,) = (artifacts / "runs").iterdir()
    shutil.copy(run / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match="expected a finished run, with an export and its card"):
        prepare_push(tmp_path, RunOptions(tmp_path))


@pytest.mark.usefixtures("without_server")
def test_anomalies_stop_a_run_or_are_told_by_the_card(tmp_path: Path) -> None:
    for number, name in itertools.product(range(12), ("cat", "dog")):
        path = tmp_path / "pets" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(number).integers(0, 128, (16, 16), dtype=np.uint8) + (128 if name == "dog" else 0)
        Image.fromarray(shade.astype(np.uint8)).save(path)
    (tmp_path / "pets" / "cat" / "torn.png").write_bytes(b"torn")
    config = replace(QUICK, dataset=f"folder:{tmp_path / 'pets'}", epochs=20, batch_size=4)
    with pytest.raises(AnomalyError, match=r"torn\.png must be a PNG, JPEG, GIF, BMP, WebP or TIFF image"):
        train_and_push([config], tmp_path)
    assert not (tmp_path / "runs").exists()
    _, version, store = train_and_push([config], tmp_path, allow_anomalies=True, reason="six images prove nothing")
    card = store.card(version)
    assert (card.name, card.classes, card.input.shape) == ("pets", ("cat", "dog"), (16, 16, 1))
    assert "torn.png" in card.data["anomalies"][0]


@pytest.mark.parametrize(
    ("classes", "shape", "differing"),
    [
        (("a", "b"), (28, 28, 1), "with classes a, b; this data has classes T-shirt/top, Trouser, "),
        (None, (32, 32, 3), r"with images of shape \(32, 32, 3\); this data has images of shape \(28, 28, 1\)"),
    ],
)
def test_other_data_under_a_served_name_is_refused_before_training(
    artifacts: Path, tmp_path: Path, classes: tuple[str, ...] | None, shape: tuple[int, int, int], differing: str
) -> None:
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    store = ModelStore(tmp_path / "models", "clothes")
    with store.stage() as staged:
        (staged / "saved_model.pb").touch()
        changed = replace(card, name="clothes", classes=classes or card.classes, input=replace(card.input, shape=shape))
        store.publish(staged, changed)
    with pytest.raises(DataError, match=rf"The model clothes is served \(version 1\), {differing}.*another name"):
        train_and_push([QUICK], tmp_path, name="clothes")
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_server")
@pytest.mark.parametrize("name", ["café", "fashion_mnist"])
def test_a_model_is_pushed_by_the_name_that_was_chosen_and_judged_by_its_data(name: str, tmp_path: Path) -> None:
    runs, version, store = train_and_push([QUICK], tmp_path, name=name, reason="a test")
    card = store.card(version)
    assert (store.name, card.name, version) == (name, name, 1)
    assert card.verdict["thresholds"]["accuracy_floor"] is None  # which Fashion-MNIST itself has
    assert runs[0].config == QUICK
    assert (runs[0].directory / checkpoint.NAME).read_text() == name


@pytest.mark.slow
def test_a_run_that_was_finished_before_an_interruption_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "judge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_and_push([QUICK], tmp_path)
    (directory,) = (tmp_path / "runs").iterdir()
    before = keras.saving.load_model(directory / "model.keras").get_weights()
    monkeypatch.setattr(pipeline, "infra", lambda *_: Check("infra", True, 0.0, 1e-3, "Left out."))
    runs, _, _ = train_and_push([QUICK], tmp_path, reason="one epoch is not enough")
    assert runs[0].directory == directory
    for ours, theirs in zip(runs[0].result.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (directory / "checkpoint").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_server")
def test_the_same_command_given_while_the_first_is_at_work_makes_a_run_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[Path] = []
    judged = pipeline.judge

    def meanwhile(*arguments: Any) -> Verdict:
        if not second:  # the first command's model is trained, and is being judged
            second.append(tmp_path)
            runs, _, _ = train_and_push([QUICK], tmp_path, overrides=LENIENT)
            second[0] = runs[0].directory
        return judged(*arguments)

    monkeypatch.setattr(pipeline, "judge", meanwhile)
    runs, _, store = train_and_push([QUICK], tmp_path, overrides=LENIENT)
    assert runs[0].directory != second[0]
    assert store.versions() == [1, 2]


@pytest.mark.usefixtures("without_server")
def test_a_model_whose_litert_form_differs_is_pushed_without_it_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No two ways of summing agree to the last bit, so that nothing passes such a tolerance.
    exact = {"infra_tolerance": 0.0} | LENIENT
    _, version, store = train_and_push([QUICK], tmp_path, overrides=exact)
    reason = "The flatbuffer must answer as the SavedModel does, within 0. Received: a difference of "
    assert f"so RUNTIME=litert cannot serve it: {reason}" in capsys.readouterr().out
    assert store.card(version).metrics["litert"]["left_out"].startswith(reason)
    text = (store.path(version) / "assets.extra" / "MODEL_CARD.md").read_text()
    assert reason in text
    assert "| TensorFlow on a CPU | " in text
    assert "| LiteRT, one thread | " not in text
    assert not (store.path(version) / "assets.extra" / "model.tflite").exists()
    assert store.verify() == []


@pytest.mark.usefixtures("without_server")
def test_a_loss_that_becomes_nan_ends_the_training_and_the_best_epoch_before_is_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Diverging(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if epoch == 2:
                self.model.set_weights([np.full_like(each, np.nan) for each in self.model.get_weights()])

    monkeypatch.setattr(training_runs, "tensorboard_callbacks", lambda _: [Diverging()])
    config = replace(QUICK, epochs=50)
    runs, version, store = train_and_push([config], tmp_path, tensorboard=True, reason="it is only a test")
    assert len(runs[0].result.history["loss"]) == 2
    said = "The loss became NaN or infinite in epoch 3 of 50, at a learning rate of 0.003 (`--learning-rate` is 0.003)."
    best = runs[0].result.best_epoch
    assert f"{said} Training stopped; the best epoch before, {best + 1}, is kept." in capsys.readouterr().out
    card = store.card(version)
    assert card.metrics["diverged"] == said
    assert said in (store.path(version) / "assets.extra" / "MODEL_CARD.md").read_text()
    assert store.verify() == []


@pytest.mark.usefixtures("without_server")
def test_a_loss_that_is_nan_from_the_beginning_is_an_error_that_leaves_the_other_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hopeless = replace(QUICK, model="deep", optimizer="momentum", learning_rate=10.0, epochs=9)
    with pytest.raises(DivergedError, match=r"in epoch 1 of 9, at a learning rate of 10 .* try a lower rate"):
        train_and_push([hopeless], tmp_path)
    runs, _, _ = train_and_push([hopeless, QUICK], tmp_path, reason="one epoch is not enough")
    assert [run.config for run in runs] == [QUICK]
    assert "deep is left out. The loss became NaN or infinite in epoch 1 of 9" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("without_server")
def test_the_better_model_by_validation_accuracy_is_pushed(tmp_path: Path) -> None:
    good, bad = replace(QUICK, epochs=3), replace(QUICK, optimizer="sgd", learning_rate=1e-6)
    runs, version, store = train_and_push([bad, good], tmp_path, overrides=LENIENT)
    assert runs[1].result.validation_accuracy > runs[0].result.validation_accuracy
    assert store.card(version).config["learning_rate"] == good.learning_rate


@pytest.mark.slow
@pytest.mark.usefixtures("without_server")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_while_publishing_leaves_the_version_before_whole(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", models], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.strip()}")
    try:
        _, version, store = train_and_push([QUICK], tmp_path, overrides=LENIENT)
        with pytest.raises(RegistryError, match="No space left"):
            train_and_push([QUICK], tmp_path, overrides=LENIENT)
        assert len(list((tmp_path / "runs").glob("*/checkpoint"))) == 1  # the same command need not train again
        assert store.versions() == [version]
        assert store.verify() == []
        assert not list((models / ".staging").rglob("saved_model.pb"))
    finally:
        subprocess.run(["umount", models], check=True)


@pytest.mark.parametrize("reason", [None, "a test"])
def test_a_broken_pin_is_reported_before_training_even_if_the_model_is_forced(
    reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / "models" / "clothes").mkdir(parents=True)
    (tmp_path / "models" / "clothes" / "pinned").write_text("7")
    with pytest.raises(RegistryError, match="names version 7, which is not there"):
        prepare(QUICK, RunOptions(tmp_path, name="clothes", reason=reason))


def test_another_split_of_the_pictures_that_the_served_version_has_is_refused_before_training(
    artifacts: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "pets")
    config = replace(QUICK, dataset=f"folder:{folder}")
    card = ModelStore(artifacts / "models", "fashion_mnist_sample").card(1)
    changed = {"classes": ("cat", "dog"), "input": replace(card.input, shape=(20, 24, 1)), "config": config.asdict()}
    store = ModelStore(tmp_path / "models", "pets")
    with store.stage() as staged:
        (staged / "saved_model.pb").touch()
        store.publish(staged, replace(card, name="pets", **changed))
    assert prepare(config, RunOptions(tmp_path)).store.served() == 1
    with pytest.raises(
        DataError, match=r"was trained with --split-seed 0: .* Train with --split-seed 0\. Choose another"
    ):
        prepare(replace(config, split_seed=1), RunOptions(tmp_path))
    assert prepare(replace(config, split_seed=1), RunOptions(tmp_path, reason="a test")).store.served() == 1
    (folder / "train").mkdir()
    for name in ("cat", "dog"):
        (folder / name).rename(folder / "train" / name)
    shutil.copytree(folder / "train", folder / "test")  # which the seed does not change
    assert prepare(replace(config, split_seed=1), RunOptions(tmp_path, allow_anomalies=True)).store.served() == 1
