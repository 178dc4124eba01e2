"""Generated bodies and headers in all protocols: each gets a reason, and the next good request is right.

FUZZ is how many each test generates; the ordinary run does a tenth of the 20,000 in all.
"""

import gzip
import json
import os
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.api.tensors import DTYPES
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged

EXAMPLES = int(os.environ.get("FUZZ", "500"))
PATHS = ("/predict", "/v1/models/fashion_mnist:predict", "/v2/models/fashion_mnist/infer")
HEADER = "Inference-Header-Content-Length"
PIXELS = (np.arange(2 * 784) % 251).astype(np.uint8).reshape(2, 28, 28, 1)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a4944415478da63fcff1f0003030200efa2a75b0000000049454e44ae426082"
)
TENSOR = {"name": "images", "shape": [2, 28, 28, 1], "datatype": "UINT8"}
HEAD = json.dumps({"inputs": [TENSOR | {"parameters": {"binary_data_size": PIXELS.nbytes}}]}).encode()
GOOD: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    (PATHS[0], json.dumps({"images": PIXELS.tolist()}).encode(), {"Content-Type": "application/json"}),
    (PATHS[0], PIXELS.tobytes(), {"Content-Type": "application/octet-stream"}),
    (PATHS[0], PNG, {"Content-Type": "image/png"}),
    (
        PATHS[0],
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    (PATHS[0], gzip.compress(PNG), {"Content-Type": "image/png", "Content-Encoding": "gzip"}),
    (PATHS[1], json.dumps({"instances": PIXELS.tolist()}).encode(), {}),
    (PATHS[1], json.dumps({"inputs": {"images": PIXELS.tolist()}}).encode(), {}),
    (PATHS[2], json.dumps({"inputs": [TENSOR | {"data": PIXELS.ravel().tolist()}]}).encode(), {}),
    (PATHS[2], HEAD + PIXELS.tobytes(), {HEADER: str(len(HEAD))}),
    (PATHS[2], zlib.compress(HEAD + PIXELS.tobytes()), {HEADER: str(len(HEAD)), "Content-Encoding": "deflate"}),
)

few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KEYS = (
    "images image instances inputs outputs b64 name shape datatype data parameters binary_data_size "
    "binary_data_output classification signature_name id probabilities UINT8"
)
words = st.sampled_from(KEYS.split())
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | words
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)
latin = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            ["application/json", "image/png", "image/jpeg", "application/octet-stream", "multipart/form-data"]
        )
        | latin,
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "identity", "br"]) | latin,
        HEADER: st.integers(-5, 5000).map(str) | latin,
        "X-Request-ID": latin,
        "Authorization": latin,
        "Accept": latin,
    },
)


@pytest.fixture
def app_client(predictor: Any) -> BridgeClient:
    return bridged(Served(predictor), Settings(max_body_bytes=10**6))


def pixels_of(path: str, body: bytes, given_headers: dict[str, str]) -> list[float] | None:
    """The pixels of a good request, read by the standard library; None for those of picture files."""
    if given_headers.get("Content-Encoding") == "deflate":
        body = zlib.decompress(body)
    if given_headers.get("Content-Type") == "application/octet-stream":
        return list(body)
    if given_headers.get("Content-Type", "application/json") != "application/json":
        return None
    length = int(given_headers.get(HEADER, len(body)))
    content, tail = json.loads(body[:length]), body[length:]
    if path == PATHS[0]:
        images = content.get("images") or [content["image"]]
    elif path == PATHS[1]:
        images = content.get("instances") or content["inputs"]
        images = images["images"] if isinstance(images, dict) else images
    elif tail:
        return np.frombuffer(tail, DTYPES[content["inputs"][0]["datatype"]]).tolist()
    else:
        images = content["inputs"][0]["data"]
    return np.ravel(images).tolist()


def check(client: BridgeClient, path: str, body: bytes, given_headers: dict[str, str]) -> int:
    reply = client.post(path, data=body, headers=given_headers)
    assert reply.status_code < 500, reply.text
    if reply.status_code != 200:
        reason = reply.json["detail" if path == "/predict" else "error"]
        assert reason
        assert "Traceback" not in reason
    return reply.status_code


def check_next(client: BridgeClient) -> None:
    for path, body, given_headers in GOOD:
        assert check(client, path, body, given_headers) == 200, (path, given_headers)


def test_the_good_requests_are_good(app_client: BridgeClient) -> None:
    check_next(app_client)


@few
@given(path=st.sampled_from(PATHS), value=values, given_headers=headers)
def test_any_json_gets_a_reason(app_client: BridgeClient, path: str, value: Any, given_headers: dict[str, str]) -> None:
    check(app_client, path, json.dumps(value).encode(), given_headers)


@few
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=2000), given_headers=headers)
def test_any_bytes_get_a_reason(
    app_client: BridgeClient, path: str, body: bytes, given_headers: dict[str, str]
) -> None:
    check(app_client, path, body, given_headers)


@few
@given(good=st.sampled_from(GOOD), data=st.data())
def test_any_mutation_of_a_good_request_is_read_rightly_or_gets_a_reason(
    app_client: BridgeClient, predictor: Any, good: tuple[str, bytes, dict[str, str]], data: st.DataObject
) -> None:
    path, body, given_headers = good
    mutant = bytearray(body)
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        mutant[place] = data.draw(st.sampled_from(b"0123456789[], .") | st.integers(0, 255))
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
    kind = data.draw(st.sampled_from(["as it is", "cut off", "cut out", "doubled"]))
    content = bytes(mutant)
    pieces = {"cut off": content[:end], "cut out": content[:start] + content[end:], "doubled": content * 2}
    content = pieces.get(kind, content)
    if check(app_client, path, content, given_headers) == 200:
        wanted = pixels_of(path, content, given_headers)
        assert wanted is None or predictor.seen.ravel().tolist() == wanted


@few
@given(change=values, key=words, place=st.sampled_from(["body", "tensor"]))
def test_any_other_value_in_a_tensor_gets_a_reason(app_client: BridgeClient, change: Any, key: str, place: str) -> None:
    tensor = TENSOR | {"data": PIXELS.ravel().tolist()} | ({key: change} if place == "tensor" else {})
    content = {"inputs": [tensor]} | ({key: change} if place == "body" else {})
    check(app_client, PATHS[2], json.dumps(content).encode(), {})


def test_after_all_of_it_the_good_requests_are_good(app_client: BridgeClient) -> None:
    check_next(app_client)
