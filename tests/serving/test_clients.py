"""The clients that people have already, against a real server: both standard protocols as they speak them."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

import serving

TIMEOUT = 300
NAME = "fashion_mnist"
SAMPLE = Path(serving.__file__).parent / "samples" / "ankle-boot.png"
Expected = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)


@pytest.fixture
def triton(server: Any) -> Any:
    http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    with http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_tritonclient_infers(
    triton: Any, expected: Expected, images: Any, coding: str | None, binary: bool, datatype: str
) -> None:
    from tritonclient import http, utils

    tensor = http.InferInput("images", images.shape, datatype)
    tensor.set_data_from_numpy(images.astype(utils.triton_to_np_dtype(datatype)), binary_data=binary)
    result = triton.infer(
        NAME,
        [tensor],
        outputs=[http.InferRequestedOutput("probabilities", binary_data=binary)],
        request_id="a",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert result.get_response()["id"] == "a"
    assert result.get_response()["model_version"] == "1"
    assert np.allclose(result.as_numpy("probabilities"), expected(images), atol=1e-5)


def test_tritonclient_gets_classes_by_default_in_binary(triton: Any, expected: Expected, images: Any) -> None:
    from tritonclient import http

    tensor = http.InferInput("images", images.shape, "UINT8")
    tensor.set_data_from_numpy(images)
    everything = triton.infer(NAME, [tensor], model_version="1").as_numpy("probabilities")
    assert np.allclose(everything, expected(images), atol=1e-5)
    wanted = http.InferRequestedOutput("probabilities", class_count=3)
    classes = triton.infer(NAME, [tensor], outputs=[wanted]).as_numpy("probabilities")
    assert classes.shape == (5, 3)
    assert [int(row[0].split(b":")[1]) for row in classes] == expected(images).argmax(axis=1).tolist()


def test_tritonclient_reads_health_metadata_and_errors(triton: Any, images: Any) -> None:
    from tritonclient import http, utils

    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(NAME)
    assert triton.is_model_ready(NAME, "1")
    assert not triton.is_model_ready("shoes")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    assert triton.get_model_metadata(NAME)["inputs"][0]["shape"] == [-1, 28, 28, 1]
    tensor = http.InferInput("images", [1, 784], "UINT8")
    tensor.set_data_from_numpy(images[:1].reshape(1, 784))
    with pytest.raises(utils.InferenceServerException, match=r"\[400\] The shape of input"):
        triton.infer(NAME, [tensor])


def kserve_python() -> str:
    """An interpreter that has kserve, which rarely installs beside the newest of everything else."""
    python = os.environ.get("KSERVE_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "import kserve"], capture_output=True, timeout=TIMEOUT, check=False)
    if found.returncode:
        pytest.skip("kserve is not installed; name a Python that has it with KSERVE_PYTHON")
    return python


def test_kserve_s_client_speaks_both_protocols(server: Any, expected: Expected, images: Any) -> None:
    script = Path(__file__).with_name("kserve_client.py")
    command = [kserve_python(), "-W", "ignore", str(script), server.url, NAME]
    done = subprocess.run(
        command, input=json.dumps(images.tolist()), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for protocol in ("v1", "v2", "v2 binary"):
        assert np.allclose(np.reshape(answers[protocol], (5, 10)), expected(images), atol=1e-5)
    assert answers["ready"] is True
    assert answers["live"] is True
    assert "`instances[0]` must be a list of 28 x 28 numbers" in answers["error"]


def test_requests_needs_no_headers(server: Any, expected: Expected, images: Any) -> None:
    v1, v2 = f"{server.url}/v1/models/{NAME}:predict", f"{server.url}/v2/models/{NAME}/infer"
    rows = json.dumps({"instances": images.tolist()})
    tensor = {"name": "images", "shape": [5, 28, 28, 1], "datatype": "UINT8", "data": images.ravel().tolist()}
    for url, body, read in (
        (v1, rows, lambda reply: reply["predictions"]),
        (v2, json.dumps({"inputs": [tensor]}), lambda reply: np.reshape(reply["outputs"][0]["data"], (5, 10))),
    ):
        for reply in (
            requests.post(url, data=body, timeout=TIMEOUT),
            requests.post(url, json=json.loads(body), timeout=TIMEOUT),
        ):
            assert reply.status_code == 200, reply.text
            assert np.allclose(read(reply.json()), expected(images), atol=1e-5)


def test_curl_needs_no_headers(server: Any, images: Any, expected: Expected, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": [{"b64": base64.b64encode(SAMPLE.read_bytes()).decode()}]}))
    url = f"{server.url}/v1/models/{NAME}:predict"
    for options in (["-d", f"@{body}"], ["--json", f"@{body}"], ["-T", str(body), "-X", "POST"]):
        command = ["curl", "-sS", "--fail-with-body", "--max-time", str(TIMEOUT), *options, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(json.loads(done.stdout)["predictions"][0]) == 10


def test_every_face_answers_alike(server: Any, expected: Expected, images: Any) -> None:
    tensor = {"name": "images", "shape": [5, 28, 28, 1], "datatype": "UINT8", "data": images.ravel().tolist()}
    octets = {"Content-Type": "application/octet-stream"}
    native = requests.post(f"{server.url}/predict", data=images.tobytes(), headers=octets, timeout=TIMEOUT).json()
    v1 = requests.post(f"{server.url}/v1/models/{NAME}:predict", json={"inputs": images.tolist()}, timeout=TIMEOUT)
    v2 = requests.post(f"{server.url}/v2/models/{NAME}/infer", json={"inputs": [tensor]}, timeout=TIMEOUT)
    for answer in (
        [[*each["probabilities"].values()] for each in native["predictions"]],
        v1.json()["outputs"],
        np.reshape(v2.json()["outputs"][0]["data"], (5, 10)),
    ):
        assert np.allclose(answer, expected(images), atol=1e-5)


def test_the_status_is_tensorflow_serving_s_message(server: Any) -> None:
    messages = pytest.importorskip(
        "tensorflow_serving.apis.get_model_status_pb2", reason="tensorflow-serving-api is not installed"
    )
    from google.protobuf import json_format

    text = requests.get(f"{server.url}/v1/models/{NAME}", timeout=TIMEOUT).text
    status = json_format.Parse(text, messages.GetModelStatusResponse())
    (version,) = status.model_version_status
    assert (version.version, version.state) == (1, messages.ModelVersionStatus.AVAILABLE)
