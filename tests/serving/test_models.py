"""Two models behind one service: each answers by its name on every protocol, the default one where none is named."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.card import ModelCard
from serving.app import create_app
from serving.http.bridge import Bridge
from serving.metrics import REGISTRY
from serving.model.models import Models
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient
from tests.serving.conftest import FakePredictor, make_card
from tests.serving.test_event_loop import BODY, TimedPredictor, ask

SHOES = ("Ankle boot", "Sandal", "Sneaker")
RAW = {"Content-Type": "application/octet-stream"}


def two(default: FakePredictor, other: FakePredictor | None, settings: Settings = Settings()) -> Models:  # noqa: B008
    """`default` serves fashion_mnist, `other` serves shoes, once it is there."""
    models = Models(settings, Served(default))
    models.set_names(["fashion_mnist", "shoes"])
    if other:
        models.named("shoes").served.replace(other)
    return models


def client_of(models: Models, settings: Settings = Settings()) -> BridgeClient:  # noqa: B008
    app = create_app(models, settings)
    return BridgeClient(app, Bridge(app, models, settings))


@pytest.fixture
def shoes() -> FakePredictor:
    card: ModelCard = replace(make_card(SHOES, (20, 16, 1)), name="shoes")
    return FakePredictor(card, version=3)


@pytest.fixture
def both(predictor: FakePredictor, shoes: FakePredictor, tmp_path: Path) -> BridgeClient:
    settings = Settings(models=tmp_path)  # not the models that the user may have pushed
    return client_of(two(predictor, shoes, settings), settings)


def test_each_model_answers_by_its_name_on_every_protocol(both: BridgeClient, image: NDArray[Any]) -> None:
    for name, pixels, classes, version in (("fashion_mnist", image, 10, "7"), ("shoes", image[:20, :16], 3, "3")):
        instances = {"instances": pixels[None, ..., None].tolist()}
        assert len(both.post(f"/v1/models/{name}:predict", json=instances).json["predictions"][0]) == classes
        tensor = {"name": "images", "shape": [1, *pixels.shape], "datatype": "UINT8", "data": pixels.ravel().tolist()}
        reply = both.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]}).json
        assert (reply["model_name"], reply["model_version"], len(reply["outputs"][0]["data"])) == (
            name,
            version,
            classes,
        )
        reply = both.post(f"/predict?model={name}", data=pixels.tobytes(), headers=RAW).json
        assert (reply["model"], len(reply["predictions"][0]["probabilities"])) == (name, classes)
        assert both.get(f"/v1/models/{name}").json["model_version_status"][0]["version"] == version
        assert both.get(f"/v2/models/{name}").json["versions"] == [version]
        assert (
            both.get(f"/model?model={name}").json["card"]["classes"][0]
            in ("T-shirt/top", "Ankle boot")[name == "shoes"]
        )
        assert both.get(f"/model/versions?model={name}").json["versions"] == []


def test_the_default_model_answers_where_none_is_named(both: BridgeClient, image: NDArray[Any]) -> None:
    assert both.post("/predict", json={"image": image.tolist()}).json["model"] == "fashion_mnist"
    assert both.get("/readyz").json["model"] == both.get("/model").json["model"] == "fashion_mnist"
    assert both.get("/models").json == {
        "models": [{"name": "fashion_mnist", "version": 7}, {"name": "shoes", "version": 3}]
    }


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", "/predict?model=hats", "detail"),
        ("GET", "/model?model=hats", "detail"),
        ("GET", "/v1/models/hats", "error"),
        ("POST", "/v1/models/hats:predict", "error"),
        ("GET", "/v2/models/hats/ready", "error"),
        ("POST", "/v2/models/hats/infer", "error"),
    ],
)
def test_an_unknown_name_is_not_found_in_the_form_of_each_protocol(
    both: BridgeClient, method: str, path: str, key: str
) -> None:
    reply = both.open(path, method=method, json={} if method == "POST" else None)
    assert reply.status_code == 404
    assert reply.json[key] == "The model must be fashion_mnist or shoes. Received: hats."


def test_the_service_is_ready_when_the_default_model_is_and_each_model_when_it_is(predictor: FakePredictor) -> None:
    client = client_of(two(predictor, None))
    assert client.get("/readyz").status_code == client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/fashion_mnist/ready").status_code == 200
    reply = client.get("/v2/models/shoes/ready")
    assert (reply.status_code, reply.json) == (503, {"error": "The model is being loaded. Try again in a moment."})
    assert client.get("/models").json["models"][1] == {"name": "shoes", "version": None}


def test_a_request_for_a_model_that_is_being_loaded_waits_for_it(
    predictor: FakePredictor, shoes: FakePredictor
) -> None:
    models = two(predictor, None)
    timer = threading.Timer(0.05, models.named("shoes").served.replace, [shoes])
    timer.start()
    assert client_of(models).post("/predict?model=shoes", data=bytes(320), headers=RAW).json["version"] == 3
    timer.join()


def test_metrics_tell_the_models_apart(both: BridgeClient) -> None:
    both.post("/v1/models/shoes:predict", json={"instances": [[[[0]] * 16] * 20]})
    labels = {"protocol": "tensorflow_serving", "code": "200", "model": "shoes", "version": "3"}
    both.get("/metrics")
    assert (REGISTRY.get_sample_value("serving_requests_total", labels) or 0) >= 1


def test_a_quick_model_answers_while_a_slow_one_computes(card: ModelCard) -> None:
    quick, slow = TimedPredictor(card), TimedPredictor(replace(card, name="shoes"), seconds=0.01)
    for each in (quick, slow):
        each.gate.set()
    models = two(quick, slow)
    models.default.served.replace(quick)
    bridge = Bridge(create_app(models, Settings()), models, Settings())
    quick.threads.clear(), slow.threads.clear()
    instances = json.dumps({"instances": np.zeros((1, 28, 28, 1), int).tolist()}).encode()

    async def main() -> None:
        slow.gate.clear()
        held = asyncio.create_task(ask(bridge, "POST", "/v1/models/shoes:predict", instances))
        while not slow.threads:
            await asyncio.sleep(0.001)
        assert (await ask(bridge, "POST", "/predict", BODY))[0] == 200
        assert not held.done()
        slow.gate.set()
        assert (await held)[0] == 200

    asyncio.run(main())
    assert quick.threads == [threading.get_ident()]
    assert threading.get_ident() not in slow.threads
