"""What lies beside the SavedModel: out-of-distribution images are detected, and files are served to the page."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.store import ModelStore
from serving.model.assets import CurrentAssets, NoveltyScore
from serving.model.served import Served
from serving.model.tensorflow import SavedModelPredictor
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged
from tests.serving.conftest import FakePredictor
from trainer.data.dataset import ImageDataset
from trainer.evaluation import novelty

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def trained(artifacts: Path) -> BridgeClient:
    """The application over a version that the trainer pushed."""
    (name,) = (path.name for path in (artifacts / "models").iterdir() if not path.name.startswith("."))
    predictor = SavedModelPredictor(ModelStore(artifacts / "models", name).path(1), 1)
    return bridged(Served(predictor), Settings(artifacts=artifacts))


def post(client: BridgeClient, images: NDArray[np.uint8], query: str = "") -> list[dict[str, Any]]:
    reply = client.post(f"/predict{query}", data=images.tobytes(), content_type="application/octet-stream")
    assert reply.status_code == 200, reply.text
    return list(reply.json["predictions"])


def test_serving_scores_as_the_trainer_does(artifacts: Path, sample: ImageDataset) -> None:
    (path,) = artifacts.glob("models/*/1/assets.extra/familiar.npz")
    scores = NoveltyScore(**np.load(path)).scores(np.asarray(sample.test.images))
    assert np.allclose(scores, novelty.fit(sample).scores(sample.test.images), atol=2e-3)


def test_images_of_the_data_set_are_in_distribution_and_noise_is_not(
    trained: BridgeClient, sample: ImageDataset
) -> None:
    own = post(trained, np.asarray(sample.test.images))
    noise = post(trained, np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8))
    assert sum(each["in_distribution"] for each in own) > 160
    assert not any(each["in_distribution"] for each in noise)
    assert all(each["in_distribution"] == (each["distribution_score"] <= 1) for each in own + noise)


@pytest.mark.parametrize("path", ["/v1/models/{}:predict", "/v2/models/{}/infer"])
def test_the_protocols_say_no_more_than_they_did(trained: BridgeClient, path: str) -> None:
    name = trained.get("/model").json["model"]
    pixels = np.zeros((1, 28, 28, 1)).tolist()
    tensor = {"name": "images", "shape": [1, 28, 28, 1], "datatype": "FP32", "data": pixels}
    reply = trained.post(path.format(name), json={"instances": pixels} if "v1" in path else {"inputs": [tensor]})
    assert reply.status_code == 200
    assert "distribution" not in reply.text


def test_a_version_without_these_files_answers_as_before(client: BridgeClient, image: NDArray[np.uint8]) -> None:
    (prediction,) = client.post("/predict", json={"image": image.tolist()}).json["predictions"]
    assert "in_distribution" not in prediction
    assert client.get("/model/files/evaluation.json").status_code == 404


def test_an_image_of_one_shade_is_said_to_show_nothing(client: BridgeClient) -> None:
    (prediction,) = post(client, np.zeros((1, 28, 28, 1), np.uint8))
    assert prediction["note"] == "Every pixel has the same shade: there is nothing to see on it."


def test_what_the_model_saw_is_told_on_request(client: BridgeClient, image: NDArray[np.uint8]) -> None:
    import base64

    (prediction,) = post(client, image[None, ..., None], "?pixels=1")
    assert base64.b64decode(prediction["pixels"]) == image.tobytes()


def test_the_assets_do_not_keep_a_version_that_is_gone(tmp_path: Path, card: Any) -> None:
    assets, old = CurrentAssets(Settings(models=tmp_path)), FakePredictor(card)
    assets.of(old)
    seen = weakref.ref(old)
    del old
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("content", [b"no archive", b"", b"PK\x05\x06"])
def test_files_that_cannot_be_used_are_logged_and_left_out(
    tmp_path: Path, predictor: Any, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    assets = CurrentAssets(Settings(models=tmp_path))
    folder = tmp_path / "fashion_mnist" / "7" / "assets.extra"
    folder.mkdir(parents=True)
    (folder / "familiar.npz").write_bytes(content)
    assert assets.of(predictor).novelty is None
    assert "familiar.npz cannot be used" in caplog.text
    other = replace(predictor, version=8)
    assert assets.of(other).version == 8


def test_the_model_is_described_with_its_card_files_and_limits(trained: BridgeClient) -> None:
    described = trained.get("/model").json
    assert described["version"] == 1
    assert described["card"]["metrics"]["familiarity"]["kinds"]["noise"]["auroc"] > 0.9
    assert {"evaluation.json", "examples.json", "examples.png", "figures/curves.png"} <= set(described["files"])
    assert described["preprocessing"] is True
    assert described["keys_needed"] is False
    assert described["limits"]["max_images"] == 256


def test_a_description_that_has_not_changed_is_not_sent_again(trained: BridgeClient) -> None:
    for path in ("/model", "/model/versions", "/model/files/examples.png", "/", "/page/app.js"):
        first = trained.get(path, buffered=True)
        again = trained.get(path, buffered=True, headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status_code, again.status_code, again.data) == (200, 304, b""), path


def test_every_version_is_listed_with_the_verdict_of_the_gate(trained: BridgeClient) -> None:
    (version,) = trained.get("/model/versions").json["versions"]
    assert (version["version"], version["state"]) == (1, "served")
    assert version["verdict"]["accepted"] is True
    assert all(check["sentence"] for check in version["verdict"]["checks"])


def test_a_damaged_version_is_listed_with_its_problem(tmp_path: Path, models: Path) -> None:
    import shutil

    shutil.copytree(models, tmp_path / "models")
    shutil.copytree(tmp_path / "models" / "fashion_mnist" / "1", tmp_path / "models" / "fashion_mnist" / "2")
    (tmp_path / "models" / "fashion_mnist" / "2" / "assets.extra" / "model_card.json").write_text("{")
    predictor = SavedModelPredictor(tmp_path / "models" / "fashion_mnist" / "1", 1)
    client = bridged(Served(predictor), Settings(models=tmp_path / "models"))
    damaged, whole = client.get("/model/versions").json["versions"]
    assert "is not JSON" in damaged["problem"]
    assert whole["state"] == "served"


@pytest.mark.parametrize("name", ["../saved_model.pb", "model_card.json/../../saved_model.pb", "nothing.json", ".."])
def test_no_other_file_is_given_away(trained: BridgeClient, name: str) -> None:
    reply = trained.get(f"/model/files/{name}")
    assert reply.status_code == 404
    if name == "nothing.json":
        assert reply.json["detail"] == "The file must be one of those that /model lists. Received: nothing.json."
