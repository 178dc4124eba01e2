"""The Open Inference API over a fake predictor, which calls an image by its first pixel."""

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.api.tensors import DTYPES
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged
from tests.serving.conftest import FakePredictor

MODEL = "/v2/models/fashion_mnist"
HEADER = "Inference-Header-Content-Length"


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.stack([np.full((28, 28, 1), value, np.uint8) for value in (3, 1, 4)])


def tensor(images: NDArray[Any], datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    return {"name": "images", "shape": [*images.shape], "datatype": datatype, **more}


def binary(content: dict[str, Any], tail: bytes, told: object = None) -> dict[str, Any]:
    head = json.dumps(content).encode()
    return {"data": head + tail, "headers": {HEADER: str(len(head) if told is None else told)}}


def best(output: dict[str, Any]) -> list[int]:
    return np.array(output["data"]).reshape(output["shape"]).argmax(axis=1).tolist()


@pytest.mark.parametrize("url", [f"{MODEL}/infer", f"{MODEL}/versions/7/infer"])
@pytest.mark.parametrize("nested", [False, True])
def test_json_tensors_are_answered_flat(client: BridgeClient, images: Any, url: str, nested: bool) -> None:
    data = images.tolist() if nested else images.ravel().tolist()
    reply = client.post(url, json={"id": "a", "inputs": [tensor(images, data=data)]})
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    assert {key: reply.json[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "fashion_mnist",
        "model_version": "7",
        "id": "a",
    }
    (output,) = reply.json["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, 10])
    assert len(output["data"]) == 30
    assert best(output) == [3, 1, 4]


def test_null_counts_as_absent(client: BridgeClient, images: Any) -> None:
    given = tensor(images, data=images.ravel().tolist()) | {"parameters": None}
    asked = {"name": "probabilities", "parameters": None}
    body = {"id": None, "parameters": None, "inputs": [given], "outputs": [asked]}
    reply = client.post(f"{MODEL}/infer", json=body)
    assert best(reply.json["outputs"][0]) == [3, 1, 4]
    assert "id" not in reply.json


@pytest.mark.parametrize("datatype", DTYPES)
def test_binary_tensors_of_every_number_type_are_taken(client: BridgeClient, images: Any, datatype: str) -> None:
    tail = images[..., 0].astype(DTYPES[datatype]).tobytes()
    content = {"inputs": [tensor(images[..., 0], datatype, parameters={"binary_data_size": len(tail)})]}
    assert best(client.post(f"{MODEL}/infer", **binary(content, tail)).json["outputs"][0]) == [3, 1, 4]


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_binary_reply_is_sent_where_it_is_asked_for(client: BridgeClient, images: Any, everywhere: bool) -> None:
    content: dict[str, Any] = {"inputs": [tensor(images, data=images.tolist())]}
    if everywhere:
        content["parameters"] = {"binary_data_output": True}
    else:
        content["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    reply = client.post(f"{MODEL}/infer", json=content)
    length = int(reply.headers[HEADER])
    (output,) = json.loads(reply.data[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(reply.data) - length == 120
    assert "data" not in output
    assert np.frombuffer(reply.data[length:], "<f4").reshape(3, 10).argmax(axis=1).tolist() == [3, 1, 4]


def test_the_best_classes_are_named(client: BridgeClient, images: Any) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 2}}]
    content = {"inputs": [tensor(images, data=images.tolist())], "outputs": outputs}
    (output,) = client.post(f"{MODEL}/infer", json=content).json["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [3, 2])
    assert output["data"][:2] == ["0.910000:3:Dress", "0.010000:0:T-shirt/top"]

    outputs[0]["parameters"]["binary_data"] = True
    reply = client.post(f"{MODEL}/infer", json=content)
    tail = reply.data[int(reply.headers[HEADER]) :]
    assert struct.unpack_from("<I", tail) == (len("0.910000:3:Dress"),)
    assert tail[4:20] == b"0.910000:3:Dress"


@pytest.mark.parametrize("asked", [10, 99])
def test_no_more_classes_are_named_than_there_are(client: BridgeClient, images: Any, asked: int) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": asked}}]
    content = {"inputs": [tensor(images, data=images.tolist())], "outputs": outputs}
    (output,) = client.post(f"{MODEL}/infer", json=content).json["outputs"]
    assert output["shape"] == [3, 10]
    assert len(output["data"]) == 30


def one(**change: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "images", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": [0] * 784} | change]}


OUTPUTS = '`outputs` must be a list of one object, {"name": "probabilities"}. Received:'


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([], 'The body must be a JSON object with "inputs". Received: a list of 0.'),
        ({"inputs": [], "parameters": 3}, "`parameters` must be an object. Received: 3."),
        ({"inputs": [], "id": 7}, "`id` must be a string. Received: 7."),
        ({}, "`inputs` must be a list of one tensor, images. Received: null."),
        ({"inputs": [{}, {}]}, "`inputs` must be a list of one tensor, images. Received: a list of 2."),
        (one(name="pixels"), 'The input must be images. Received: "pixels".'),
        (one(name=None), "The input must be images. Received: null."),
        (one(datatype="BYTES"), 'The datatype of input "images" must be one of UINT8, '),
        (one(shape=[1, 784]), 'The shape of input "images" must be [-1, 28, 28, 1], -1 for any number.'),
        (one(shape=[0, 28, 28, 1]), 'The shape of input "images" must be '),
        (one(shape=[True, 28, 28, 1]), 'The shape of input "images" must be '),
        (one(shape=None), 'The shape of input "images" must be '),
        (one(shape=[]), 'The shape of input "images" must be '),
        (one(data=[0] * 783), 'The data of input "images" must be 784 numbers. Received: 783 of them.'),
        (one(data=None), 'The data of input "images" must be 784 numbers. Received: null.'),
        (one(data=[[0] * 783, 0]), 'The data of input "images" must be numbers, or lists of one depth.'),
        (one(data=[0] * 783 + [256]), "`data[783]` must be a number from 0 to 255. Received: 256."),
        (one(data=[0.5] * 784), "`data[0]` must be a number from 0 to 255. Received: 0.5, and none above 1. Send raw"),
        (one(data=[True] * 784), "`data[0]` must be a number from 0 to 255. Received: true."),
        (one(parameters=3), "The parameters of an input must be an object. Received: 3."),
        (one(parameters={"binary_data_size": "3"}), '`binary_data_size` must be a number of bytes. Received: "3".'),
        (one(parameters={"binary_data_size": 784}), 'Input "images" must have 784 bytes after the JSON and no data'),
        (
            one() | {"outputs": [{"name": "logits"}]},
            f"{OUTPUTS} a list of 1.",
        ),
        (one() | {"outputs": 3}, f"{OUTPUTS} 3."),
        (
            one() | {"outputs": ["probabilities"]},
            f"{OUTPUTS} a list of 1.",
        ),
        (
            one() | {"outputs": False},
            f"{OUTPUTS} false.",
        ),
        (one() | {"parameters": {"binary_data_output": 1}}, "`binary_data_output` must be true or false. Received: 1."),
        (
            one() | {"outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            "`classification` must be a number of classes. Received: -1.",
        ),
    ],
)
def test_a_bad_body_is_refused_in_a_sentence(client: BridgeClient, content: Any, error: str) -> None:
    reply = client.post(f"{MODEL}/infer", data=json.dumps(content))
    assert (reply.status_code, reply.content_type) == (400, "application/json")
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(error), reply.json["error"]


@pytest.mark.parametrize(
    ("told", "tail", "error"),
    [
        (None, bytes(783), 'Input "images" must have 784 bytes'),
        (None, bytes(785), "The body must end with its last tensor. Received: 1 bytes more."),
        ("-1", bytes(784), f"{HEADER} must be from 0 to "),
        ("99999", bytes(784), f"{HEADER} must be from 0 to "),
        ("5", bytes(784), "The body must be JSON."),
        ("0", bytes(784), "The body must be JSON."),
    ],
)
def test_a_binary_body_that_is_not_as_told_is_refused(
    client: BridgeClient, told: str | None, tail: bytes, error: str
) -> None:
    content = {"inputs": [tensor(np.zeros((1, 28, 28, 1)), parameters={"binary_data_size": 784})]}
    reply = client.post(f"{MODEL}/infer", **binary(content, tail, told))
    assert reply.status_code == 400
    assert reply.json["error"].startswith(error)


@pytest.mark.parametrize("size", [783, 785])
def test_a_binary_size_that_is_not_the_tensor_s_is_refused(client: BridgeClient, size: int) -> None:
    content = {"inputs": [tensor(np.zeros((1, 28, 28, 1)), parameters={"binary_data_size": size})]}
    reply = client.post(f"{MODEL}/infer", **binary(content, bytes(784)))
    assert reply.status_code == 400
    assert reply.json["error"].startswith('Input "images" must have 784 bytes after the JSON')


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", None])
def test_fractions_reach_the_model_as_they_are(client: BridgeClient, predictor: Any, datatype: str | None) -> None:
    """Its metadata say FP32; the sizes of resized pictures, for one, have fractions."""
    pixels = np.linspace(0, 255, 784).astype(DTYPES[datatype] if datatype else "<f4").reshape(1, 28, 28, 1)
    if datatype:
        content = {"inputs": [tensor(pixels, datatype, parameters={"binary_data_size": pixels.nbytes})]}
        reply = client.post(f"{MODEL}/infer", **binary(content, pixels.tobytes()))
    else:
        reply = client.post(f"{MODEL}/infer", json={"inputs": [tensor(pixels, "FP32", data=pixels.tolist())]})
    assert reply.status_code == 200
    assert predictor.seen.dtype == np.float32
    assert (predictor.seen == pixels.astype(np.float32)).all()


def test_whole_numbers_stay_bytes_and_so_does_what_a_model_of_bytes_is_sent(predictor: Any, card: Any) -> None:
    client = bridged(Served(predictor))
    client.post(f"{MODEL}/infer", json=one(datatype="FP32", data=[7.0] * 784))
    assert predictor.seen.dtype == np.uint8
    predictor.card = replace(card, input=replace(card.input, dtype="uint8"))
    reply = client.post(f"{MODEL}/infer", json=one(datatype="FP32", data=[7.5] * 784))
    assert (reply.status_code, reply.json["error"][:48]) == (400, "`data[0]` must be a whole number from 0 to 255. ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 256.0, 0.5])
def test_binary_floats_that_are_no_pixels_are_refused(client: BridgeClient, value: float) -> None:
    pixels = np.zeros((1, 28, 28, 1), np.float32)
    pixels[0, 1, 2] = value
    content = {"inputs": [tensor(pixels, "FP32", parameters={"binary_data_size": pixels.nbytes})]}
    reply = client.post(f"{MODEL}/infer", **binary(content, pixels.tobytes()))
    assert reply.status_code == 400
    assert reply.json["error"].startswith("`data[30]` must be a number from 0 to 255. Received: ")


def test_too_many_images_are_refused_with_the_limit(client: BridgeClient) -> None:
    reply = client.post(f"{MODEL}/infer", json=one(shape=[257, 28, 28, 1]))
    assert (reply.status_code, reply.json) == (413, {"error": "A request may hold 256 images. Received: 257."})


@pytest.mark.parametrize("path", ["/v2/models/shoes/infer", f"{MODEL}/versions/8/infer"])
def test_what_is_not_served_is_not_found(client: BridgeClient, path: str) -> None:
    assert client.post(path, json=one()).status_code == 404


def test_server_and_model_describe_themselves(client: BridgeClient) -> None:
    server = client.get("/v2").json
    assert server["extensions"] == ["binary_tensor_data", "classification"]
    for path in (MODEL, f"{MODEL}/versions/7"):
        model = client.get(path).json
        assert (model["name"], model["versions"]) == ("fashion_mnist", ["7"])
        assert model["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 28, 28, 1]}]


def test_health_is_told_in_both_words() -> None:
    served = Served()
    client = bridged(served, Settings(ready_timeout=0))
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/live").json == {"live": True, "ready": False}
    for path in ("/v2/health/ready", f"{MODEL}/ready"):
        assert client.get(path).status_code == 503


def test_a_ready_model_says_so(client: BridgeClient) -> None:
    assert client.get("/v2/health/ready").json == {"live": True, "ready": True}
    assert client.get(f"{MODEL}/ready").json == {"name": "fashion_mnist", "ready": True}
    assert client.get("/v2/models/shoes/ready").status_code == 404


@pytest.mark.parametrize(
    ("runtime", "platform"), [("tensorflow", "tensorflow_savedmodel"), ("litert", "litert_tflite")]
)
def test_the_metadata_names_the_format_that_the_runtime_reads(
    predictor: FakePredictor, runtime: str, platform: str
) -> None:
    client = bridged(Served(predictor), Settings(runtime=runtime))
    assert client.get(MODEL).get_json()["platform"] == platform
