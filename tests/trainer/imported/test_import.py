"""Models of other trainers are imported by one command, and answer everywhere what their own framework answers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.card import ModelCard
from serving.model.served import ModelError, Predictor, Served
from serving.settings import Settings
from tests.conftest import ROOT
from tests.serving.bridged import bridged
from tests.trainer.imported.conftest import Importing
from tests.trainer.imported.foreign import CLASSES, MAKERS, Foreign

pytestmark = pytest.mark.tensorflow

CLOSE = 1e-4


@pytest.fixture(scope="module", params=MAKERS)
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    if request.param == "jax_saved_model":
        pytest.importorskip("jax", reason="JAX is not installed; the extra `dev` brings it")
    return MAKERS[request.param](tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def artifacts(foreign: Foreign, importing: Importing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    assert importing(foreign.path, folder, *foreign.options) == 0
    return folder


@pytest.fixture(scope="module")
def version(artifacts: Path) -> Path:
    return artifacts / "models" / "imported" / "1"


def loaded(version: Path) -> Iterator[Predictor]:
    """The version on each runtime that can serve it."""
    from serving.model.litert import LiteRTPredictor
    from serving.model.tensorflow import SavedModelPredictor

    if ModelCard.read(version).config["imported"] != "TFLite":
        yield SavedModelPredictor(version, 1, xla=True)
    yield LiteRTPredictor(version, 1)


def answers(predictor: Predictor, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Probabilities by protocol."""
    client = bridged(Served(predictor), Settings())
    predicted = client.post("/predict", json={"images": images.tolist()}).get_json()["predictions"]
    v1 = client.post("/v1/models/imported:predict", json={"instances": images.tolist()}).get_json()["predictions"]
    tensor = {"name": "images", "shape": images.shape, "datatype": "UINT8", "data": images.ravel().tolist()}
    v2 = client.post("/v2/models/imported/infer", json={"inputs": [tensor]}).get_json()["outputs"][0]["data"]
    return {
        "/predict": [[each["probabilities"][name] for name in CLASSES] for each in predicted],
        "/v1": v1,
        "/v2": np.reshape(v2, (len(images), -1)),
    }


def test_every_protocol_answers_on_both_runtimes_what_the_models_own_framework_does(
    foreign: Foreign, version: Path
) -> None:
    images = foreign.images(3)
    expected = foreign.answer(images)
    assert np.ptp(expected, axis=0).max() > 0.01  # the images are told apart
    for predictor in loaded(version):
        assert predictor.largest < 32 or foreign.shape != (224, 224, 3)  # a large model's runs are kept short
        for protocol, answer in answers(predictor, images).items():
            assert np.allclose(answer, expected, atol=CLOSE), f"{protocol} of {type(predictor).__name__}"


def test_the_card_says_what_is_known_and_what_is_not(foreign: Foreign, version: Path, artifacts: Path) -> None:
    card = ModelCard.read(version)
    assert card.config["model"] == foreign.path.name
    assert (card.classes, card.input.shape, card.verdict) == (CLASSES, foreign.shape, None)
    assert "test_accuracy" not in card.metrics
    assert card.metrics["litert_latency_ms"]["single"] > 0
    text = (version / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "It was not tested here" in text
    assert "It was not judged." in text
    for command in (["list"], ["explain", "1"]):
        given = [sys.executable, "-m", "registry", "--models", str(artifacts / "models"), *command]
        done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
        assert foreign.path.name in done.stdout


def test_the_service_describes_a_model_that_was_not_tested(version: Path) -> None:
    *_, predictor = loaded(version)
    client = bridged(Served(predictor), Settings(models=version.parents[1]))
    assert client.get("/model").get_json()["card"]["verdict"] is None
    assert client.get("/model/versions").get_json()["versions"][0]["test_accuracy"] is None
    for path in ("/", "/metrics", "/v1/models/imported/metadata", "/v2/models/imported"):
        assert client.get(path).status_code == 200, path


def test_tensorflow_says_which_runtime_serves_a_tflite_file(importing: Importing, tmp_path: Path) -> None:
    from serving.model.tensorflow import SavedModelPredictor

    foreign = MAKERS["tflite_file"](tmp_path)
    assert importing(foreign.path, tmp_path, *foreign.options) == 0
    with pytest.raises(ModelError, match="holds no SavedModel: set RUNTIME=litert"):
        SavedModelPredictor(tmp_path / "models" / "imported" / "1", 1)


@pytest.mark.slow
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_the_command_asks_a_real_server_and_bulk_inference_answers_the_same(
    maker: Callable[[Path], Foreign], classes: Path, tmp_path: Path
) -> None:
    foreign = maker(tmp_path)
    command = [sys.executable, "-m", "trainer", "import", str(foreign.path), "--classes", str(classes)]
    done = subprocess.run(
        [*command, "--name", "imported", "--artifacts", str(tmp_path), *foreign.options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "A real server's answers to 24 requests agree" in done.stdout
    images = foreign.images(5)
    np.save(tmp_path / "images.npy", images)
    runtimes = ("litert",) if foreign.path.suffix == ".tflite" else ("tensorflow", "litert")
    for runtime in runtimes:
        out = tmp_path / f"{runtime}.jsonl"
        subprocess.run(
            [sys.executable, "-m", "serving.predict", str(tmp_path / "images.npy"), "--out", str(out)],
            cwd=ROOT,
            env={**os.environ, "MODELS": str(tmp_path / "models"), "RUNTIME": runtime},
            check=True,
            timeout=300,
        )
        rows = [json.loads(line)["probabilities"] for line in out.read_text().splitlines()]
        assert np.allclose([[row[name] for name in CLASSES] for row in rows], foreign.answer(images), atol=CLOSE)
