"""Every error leaves as problem details, with one sentence and nothing of the inside."""

import io
import json
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.app import MemoryRequest
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged


def assert_problem(reply: Any, status: int, title: str, detail: str) -> None:
    assert reply.status_code == status
    assert reply.content_type == "application/problem+json"
    assert reply.json == {"type": "about:blank", "title": title, "status": status, "detail": detail}


def test_an_invalid_image_is_a_bad_request(client: BridgeClient) -> None:
    detail = "`image` must be a list of 28 x 28 numbers. Received: 3."
    assert_problem(client.post("/predict", json={"image": 3}), 400, "Bad Request", detail)


def test_an_unknown_path_names_the_known_ones(client: BridgeClient) -> None:
    reply = client.get("/nowhere")
    detail = reply.json["detail"]
    assert_problem(reply, 404, "Not Found", detail)
    for route in ("GET /healthz", "POST /predict", "POST /v1/models/{name}:predict", "GET /v2/health/live"):
        assert route in detail


def test_an_unknown_path_of_a_protocol_names_the_paths_of_that_protocol(client: BridgeClient) -> None:
    reply = client.get("/v2/nowhere")
    assert reply.status_code == 404
    assert reply.json["error"].endswith("POST /v2/models/{name}/versions/{version}/infer. Received: /v2/nowhere.")
    assert "/v1" not in reply.json["error"]


def test_a_wrong_method_names_the_right_one(client: BridgeClient) -> None:
    reply = client.get("/predict")
    detail = "/predict must be called with POST. Received: GET."
    assert_problem(reply, 405, "Method Not Allowed", detail)
    assert set(reply.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_a_wrong_media_type_names_the_right_ones(client: BridgeClient) -> None:
    reply = client.post("/predict", data="x", content_type="text/plain")
    assert (reply.status_code, reply.json["title"]) == (415, "Unsupported Media Type")


@pytest.mark.parametrize("form", [True, False])
def test_a_body_over_the_limit_is_refused_with_the_limit(predictor: Any, form: bool) -> None:
    client = bridged(Served(predictor), Settings(max_body_bytes=1000))
    data: Any = {"image": (io.BytesIO(bytes(2000)), "a.png")} if form else bytes(2000)
    reply = client.post("/predict", data=data, content_type=None if form else "image/png")
    assert reply.status_code == 413
    assert reply.json["detail"].startswith("A request may hold 1000 bytes and 256 images. Received: 2")
    assert predictor.seen is None


def test_more_files_than_allowed_are_refused_with_the_limit(predictor: Any) -> None:
    client = bridged(Served(predictor), Settings(max_images=2))
    for count in (3, 9):
        files = [(io.BytesIO(b"x"), "a.png") for _ in range(count)]
        reply = client.post("/predict", data={"image": files})
        phrase = HTTPStatus(413).phrase  # which depends on Python's version
        assert (reply.status_code, reply.json["title"]) == (413, phrase)
        assert "2 images" in reply.json["detail"]


def test_an_error_that_nobody_foresaw_tells_the_log_and_not_the_client(
    predictor: Any,
    image: NDArray[np.uint8],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(images: NDArray[np.uint8]) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(predictor, "predict", fail)
    client = bridged(Served(predictor), Settings())
    reply = client.post("/predict", json={"image": image.tolist()})
    assert_problem(reply, 500, "Internal Server Error", "The server failed here; its log says why.")
    assert "secret" in caplog.text


def test_a_mutation_of_a_good_body_is_read_as_json_says_or_refused(
    client: BridgeClient, predictor: Any, image: NDArray[np.uint8]
) -> None:
    good = json.dumps({"image": image.tolist()}).encode()
    random = np.random.default_rng(0)
    good_ones = 0
    for _ in range(300):
        body = bytearray(good)
        for place in random.integers(0, len(body), 3):
            body[place] = random.integers(0, 256) if random.random() < 0.1 else random.choice(list(b"0123456789, "))
        body = body[: random.integers(0, len(body) + 1)] if random.random() < 0.3 else body
        reply = client.post("/predict", data=bytes(body), content_type="application/json")
        assert reply.status_code in (200, 400)
        if reply.status_code == 200:
            good_ones += 1
            assert predictor.seen.ravel().tolist() == np.ravel(json.loads(body)["image"]).tolist()
    assert good_ones > 10
    assert client.post("/predict", data=good, content_type="application/json").status_code == 200


def test_a_large_upload_stays_in_memory() -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = io.BytesIO(head + bytes(2**20) + b"\r\n--x--\r\n")
    request = MemoryRequest.from_values(
        method="POST", input_stream=body, content_type="multipart/form-data; boundary=x"
    )
    assert isinstance(request.files["image"].stream, io.BytesIO)
