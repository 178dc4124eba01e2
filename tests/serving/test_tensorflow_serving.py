"""TensorFlow Serving's API over a fake predictor, which calls an image by its first pixel."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged

MODEL = "/v1/models/fashion_mnist"


def b64(image: NDArray[np.uint8]) -> dict[str, str]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return {"b64": base64.b64encode(buffer.getvalue()).decode()}


@pytest.fixture
def rows() -> list[Any]:
    return [np.full((28, 28, 1), value, np.uint8).tolist() for value in (3, 1, 4)]


def best(rows: list[list[float]]) -> list[int]:
    return np.array(rows).argmax(axis=1).tolist()


@pytest.mark.parametrize("url", [f"{MODEL}:predict", f"{MODEL}/versions/7:predict"])
def test_rows_are_answered_as_predictions(client: BridgeClient, rows: list[Any], url: str) -> None:
    reply = client.post(url, json={"signature_name": "serving_default", "instances": rows})
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    assert list(reply.json) == ["predictions"]
    assert best(reply.json["predictions"]) == [3, 1, 4]


def test_rows_may_name_their_input(client: BridgeClient, rows: list[Any]) -> None:
    reply = client.post(f"{MODEL}:predict", json={"instances": [{"images": row} for row in rows]})
    assert best(reply.json["predictions"]) == [3, 1, 4]


@pytest.mark.parametrize("named", [False, True])
def test_columns_are_answered_as_outputs(client: BridgeClient, rows: list[Any], named: bool) -> None:
    reply = client.post(f"{MODEL}:predict", json={"inputs": {"images": rows} if named else rows})
    assert list(reply.json) == ["outputs"]
    assert best(reply.json["outputs"]) == [3, 1, 4]


def test_files_in_base64_stand_for_images(client: BridgeClient) -> None:
    files = [b64(np.full((28, 28), value, np.uint8)) for value in (2, 5)]
    for body in (
        {"instances": files},
        {"instances": [{"images": file} for file in files]},
        {"inputs": files},
        {"inputs": {"images": files}},
    ):
        (rows,) = client.post(f"{MODEL}:predict", json=body).json.values()
        assert best(rows) == [2, 5]
    (rows,) = client.post(f"{MODEL}:predict", json={"inputs": files[0]}).json.values()
    assert best(rows) == [2]


def test_base64_may_have_line_breaks_and_lack_padding(client: BridgeClient) -> None:
    text = b64(np.full((28, 28), 2, np.uint8))["b64"]
    broken = " " + base64.encodebytes(base64.b64decode(text)).decode().rstrip("=\n").replace("\n", "\r\n")
    assert "\n" in broken
    reply = client.post(f"{MODEL}:predict", json={"instances": [{"b64": broken}]})
    assert best(reply.json["predictions"]) == [2]


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_fractions_reach_the_model_as_they_are(client: BridgeClient, predictor: Any, key: str) -> None:
    pixels = np.linspace(0, 255, 784, dtype=np.float32).reshape(1, 28, 28, 1)
    assert client.post(f"{MODEL}:predict", json={key: pixels.tolist()}).status_code == 200
    assert (predictor.seen == pixels).all()


def test_pixels_that_were_scaled_are_refused(client: BridgeClient) -> None:
    pixels = np.linspace(0, 1, 784).reshape(1, 28, 28)
    reply = client.post(f"{MODEL}:predict", json={"instances": pixels.tolist()})
    assert reply.status_code == 400
    assert reply.json["error"].endswith("and none above 1. Send raw pixels: the model scales them itself.")


@pytest.mark.parametrize("media_type", [None, "application/x-www-form-urlencoded", "text/plain", "nonsense"])
def test_no_content_type_is_refused(client: BridgeClient, rows: list[Any], media_type: str | None) -> None:
    body = json.dumps({"instances": rows})
    reply = client.post(f"{MODEL}:predict", data=body, content_type=media_type)
    assert best(reply.json["predictions"]) == [3, 1, 4]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "The body must be JSON. Received: 1 bytes"),
        ([], 400, 'The body must be a JSON object with "instances" or "inputs", one of the two. Received: a list'),
        ({}, 400, 'The body must be a JSON object with "instances" or "inputs", one of the two. Received: an empty ob'),
        ({"instances": [], "inputs": []}, 400, "The body must be a JSON object"),
        ({"instances": []}, 400, "`instances` must be a list of at least one image. Received: a list of 0."),
        ({"instances": 3}, 400, "`instances` must be a list of at least one image. Received: 3."),
        ({"instances": [[3]]}, 400, "`instances[0]` must be a list of 28 x 28 numbers. Received: a list of 1."),
        ({"instances": [3] * 257}, 413, "A request may hold 256 images. Received: 257."),
        ({"instances": [{"pixels": 3}]}, 400, "`instances[0]` must hold the input images and nothing else."),
        ({"instances": {"images": [3]}}, 400, "`instances` must be a list of at least one image. Received: an object."),
        ({"inputs": {"pixels": 3}}, 400, "`inputs` must hold the input images and nothing else."),
        ({"instances": [{"b64": "?"}]}, 400, "`instances[0]` must hold base64. Received: 1 characters"),
        ({"instances": [{"b64": 3}]}, 400, '`instances[0]` must be pixels or {"b64": text}. Received: {"b64": 3}.'),
        ({"instances": [{"b64": "R0lG"}]}, 400, "instances[0] must be a PNG, JPEG, GIF, BMP, WebP or TIFF image."),
        ({"instances": [{"b64": ""}, 3]}, 400, "`instances[0]` must be a list of 28 x 28 numbers."),
        ({"inputs": 1, "signature_name": "x"}, 400, "`signature_name` must be serving_default. Received: "),
        ({"inputs": 1, "signature_name": []}, 400, "`signature_name` must be serving_default. Received: a list of 0."),
    ],
)
def test_a_bad_body_is_refused_in_a_sentence(client: BridgeClient, body: Any, status: int, error: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body)
    reply = client.post(f"{MODEL}:predict", data=data)
    assert (reply.status_code, reply.content_type) == (status, "application/json")
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(error)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/models/shoes:predict", "The model must be fashion_mnist. Received: shoes."),
        (f"{MODEL}/versions/8:predict", "The version of fashion_mnist must be 7. Received: 8."),
        (f"{MODEL}/versions/x:predict", "The version of fashion_mnist must be 7. Received: x."),
        (f"{MODEL}:classify", "The path must be one of: "),
    ],
)
def test_what_is_not_served_is_not_found(client: BridgeClient, path: str, error: str) -> None:
    reply = client.post(path, json={})
    assert reply.status_code == 404
    assert reply.json["error"].startswith(error)


def test_the_status_names_the_served_and_the_failed_versions(predictor: Any) -> None:
    served = Served(predictor)
    served.failures = {8: "it does not load"}
    client = bridged(served, Settings())
    good = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    bad = {"version": "8", "state": "END", "status": {"error_code": "UNKNOWN", "error_message": "it does not load"}}
    assert client.get(MODEL).json == {"model_version_status": [good, bad]}
    assert client.get(f"{MODEL}/versions/8").json == {"model_version_status": [bad]}
    assert client.get(f"{MODEL}/versions/9").status_code == 404
    assert client.get("/v1/models/shoes").status_code == 404


def test_the_metadata_describe_the_signature(client: BridgeClient) -> None:
    metadata = client.get(f"{MODEL}/metadata").json
    assert metadata["model_spec"] == {"name": "fashion_mnist", "signature_name": "", "version": "7"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["images"]["dtype"] == "DT_FLOAT"
    sizes = [each["size"] for each in signature["inputs"]["images"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "28", "28", "1"]
    assert signature["outputs"]["probabilities"]["tensor_shape"]["dim"][1]["size"] == "10"


def test_before_the_first_model_it_is_unavailable() -> None:
    client = bridged(Served(), Settings(ready_timeout=0))
    for reply in (client.get(MODEL), client.post(f"{MODEL}:predict", json={"instances": [1]})):
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert reply.json == {"error": "The model is being loaded. Try again in a moment."}
