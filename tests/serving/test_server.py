"""The whole service: a real gunicorn on loopback with a real SavedModel, as clients meet it."""

import json
import re
import select
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

import serving

TIMEOUT = 300
RAW = {"Content-Type": "application/octet-stream"}
SAMPLES = sorted((Path(serving.__file__).parent / "samples").glob("*.png"))
Expected = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def pixels(sample: Path) -> NDArray[np.uint8]:
    with Image.open(sample) as image:
        return np.asarray(image)


def answer(reply: requests.Response) -> NDArray[np.float64]:
    """The probabilities of a good reply, (n, classes)."""
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == "fashion_mnist"
    assert reply.json()["version"] == 1
    return np.array([list(each["probabilities"].values()) for each in reply.json()["predictions"]])


def test_there_is_a_sample_image_of_each_class() -> None:
    assert len(SAMPLES) == 10
    assert {pixels(sample).shape for sample in SAMPLES} == {(28, 28)}


def test_json_is_answered_with_the_model_s_probabilities(server: Any, expected: Expected) -> None:
    images = np.stack([pixels(sample) for sample in SAMPLES])
    reply = requests.post(f"{server.url}/predict", json={"images": images.tolist()}, timeout=TIMEOUT)
    assert np.allclose(answer(reply), expected(images), atol=1e-5)


def test_a_png_is_answered_with_the_model_s_probabilities(server: Any, expected: Expected) -> None:
    headers = {"Content-Type": "image/png"}
    body = SAMPLES[0].read_bytes()
    reply = requests.post(f"{server.url}/predict", data=body, headers=headers, timeout=TIMEOUT)
    assert np.allclose(answer(reply), expected(pixels(SAMPLES[0])), atol=1e-5)


def test_a_jpeg_is_answered_with_the_model_s_probabilities(server: Any, expected: Expected) -> None:
    buffer = BytesIO()
    Image.fromarray(pixels(SAMPLES[0])).save(buffer, "JPEG")
    with Image.open(buffer) as image:
        decoded = np.asarray(image)
    headers = {"Content-Type": "image/jpeg"}
    reply = requests.post(f"{server.url}/predict", data=buffer.getvalue(), headers=headers, timeout=TIMEOUT)
    assert np.allclose(answer(reply), expected(decoded), atol=1e-5)


def test_many_uploads_are_answered_in_their_order(server: Any, expected: Expected) -> None:
    files = [("images", (sample.name, sample.read_bytes())) for sample in SAMPLES]
    reply = requests.post(f"{server.url}/predict", files=files, timeout=TIMEOUT)
    assert np.allclose(answer(reply), expected(np.stack([*map(pixels, SAMPLES)])), atol=1e-5)
    assert [each["file"] for each in reply.json()["predictions"]] == [each.name for each in SAMPLES]


@pytest.mark.parametrize(
    "options",
    [
        ["-F", f"image=@{SAMPLES[0]}"],
        ["--data-binary", f"@{SAMPLES[0]}"],
        ["-T", f"{SAMPLES[0]}", "-X", "POST"],
        [
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Content-Type: image/png",
            "--data-binary",
            f"@{SAMPLES[0]}",
        ],
        ["-d", json.dumps({"image": pixels(SAMPLES[0]).tolist()})],
        ["--json", json.dumps({"image": pixels(SAMPLES[0]).tolist()})],
    ],
    ids=["form", "binary", "upload", "chunked", "data", "json"],
)
def test_curl_needs_no_headers(server: Any, expected: Expected, options: list[str]) -> None:
    command = [
        "curl",
        "-sS",
        "--fail-with-body",
        "--max-time",
        str(TIMEOUT),
        *options,
        f"{server.url}/predict",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert np.allclose([*prediction["probabilities"].values()], expected(pixels(SAMPLES[0])), atol=1e-5)


def test_the_printed_curl_works(server: Any) -> None:
    found = re.search(r"try: (curl .*)", server.banner)
    assert found, server.banner
    done = subprocess.run(shlex.split(found[1]), capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert len(json.loads(done.stdout)["predictions"]) == 1


def test_fractions_are_answered_as_the_model_would(server: Any, expected: Expected) -> None:
    images = np.linspace(0, 255, 3 * 784, dtype=np.float32).reshape(3, 28, 28, 1)
    v1, v2 = (f"{server.url}/{path}" for path in ("v1/models/fashion_mnist:predict", "v2/models/fashion_mnist/infer"))
    rows = requests.post(v1, json={"instances": images.tolist()}, timeout=TIMEOUT).json()["predictions"]
    assert np.allclose(rows, expected(images), atol=1e-5)
    tensor = {"name": "images", "shape": images.shape, "datatype": "FP32", "data": images.ravel().tolist()}
    (output,) = requests.post(v2, json={"inputs": [tensor]}, timeout=TIMEOUT).json()["outputs"]
    assert np.allclose(output["data"], expected(images).ravel(), atol=1e-5)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_with_the_limit(server: Any, chunked: bool) -> None:
    body = bytes(17 * 2**20)
    data: Any = (body[start : start + 2**16] for start in range(0, len(body), 2**16)) if chunked else body
    headers = {"Content-Type": "image/png"}
    reply = requests.post(f"{server.url}/predict", data=data, headers=headers, timeout=TIMEOUT)
    assert reply.status_code == 413
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["detail"].startswith("A request may hold 16777216 bytes and 256 images.")


def test_metrics_add_up_what_the_workers_did(server: Any) -> None:
    sample = 'serving_requests_total{code="400",model="",protocol="native",version=""}'
    counts = []
    for _ in range(2):
        requests.post(f"{server.url}/predict", json={"image": 3}, timeout=TIMEOUT)
        lines = requests.get(f"{server.url}/metrics", timeout=TIMEOUT).text.splitlines()
        counts += [float(line.split()[-1]) for line in lines if line.startswith(sample)]
        assert 'serving_model_version{model="fashion_mnist",' in "".join(lines)
    assert counts[1] == counts[0] + 1


def test_an_error_is_a_problem_document(server: Any) -> None:
    reply = requests.post(f"{server.url}/predict", json={"image": 3}, timeout=TIMEOUT)
    assert reply.status_code == 400
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["detail"] == "`image` must be a list of 28 x 28 numbers. Received: 3."


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("chunks", [b"zz\r\n", b"2\r\n{}XX0\r\n\r\n", b"0\r\nno trailer\r\n\r\n"])
def test_broken_chunks_are_the_client_s_mistake(server: Any, kind: str, chunks: bytes) -> None:
    port = server.port
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
        client.sendall(head.encode() + chunks)
        client.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"Received" in reply
    assert server.log is None or "Traceback" not in server.log.read_text()  # of an image there is none


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(server: Any, head: bytes, status: int) -> None:
    port = server.port
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
        client.sendall(head)
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    top, _, body = reply.partition(b"\r\n\r\n")
    assert top.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in top
    problem = json.loads(body)
    assert problem["status"] == status
    assert "within the limits. Received: " in problem["detail"]
    counted = f'code="{status}",model="",protocol="other",version=""'
    assert counted in requests.get(f"{server.url}/metrics", timeout=TIMEOUT).text


def test_each_request_of_a_busy_connection_has_a_deadline_of_its_own(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", DEADLINE_MS="10000") as server, requests.Session() as session:
        server.wait_until_ready()
        end = time.monotonic() + 12
        while time.monotonic() < end:
            assert session.post(f"{server.url}/predict", data=bytes(784), headers=RAW, timeout=TIMEOUT).ok
            time.sleep(0.1)


def half_a_request(server: Any) -> socket.socket:
    """A client that has sent the head of a request for one image, and half of the body."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 784\r\n\r\n"
    client.sendall(head.encode() + bytes(392))
    return client


def test_probes_are_answered_while_slow_clients_hold_every_thread(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", THREADS="2") as server, ExitStack() as clients:
        server.wait_until_ready()
        slow = [clients.enter_context(half_a_request(server)) for _ in range(3)]
        for path in ("/healthz", "/readyz", "/v2/health/ready"):
            assert requests.get(f"{server.url}{path}", timeout=TIMEOUT).ok
        assert select.select(slow, [], [], 0)[0] == []  # or their threads were free again


def test_a_client_that_drips_is_not_heard_for_ever(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", CLIENT_TIMEOUT="1") as server:
        server.wait_until_ready()
        with half_a_request(server) as client:
            for _ in range(100):
                client.sendall(b"x")
                if select.select([client], [], [], 0.2)[0]:
                    break
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"The body must arrive in time" in reply
        assert "Traceback" not in server.log.read_text()


def test_the_time_that_a_client_takes_to_send_is_not_held_against_it(
    models: Path, start: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start(models, RUNTIME="litert", DEADLINE_MS="5000") as server:
        server.wait_until_ready()
        with half_a_request(server) as client:
            time.sleep(6)
            client.sendall(bytes(392))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_nobody_moves_the_service_by_a_header(server: Any) -> None:
    headers = {"SCRIPT_NAME": "/elsewhere", "PATH_INFO": "/metrics"}
    assert requests.get(f"{server.url}/healthz", headers=headers, timeout=TIMEOUT).json() == {"status": "alive"}


@pytest.mark.parametrize("path", ["/v1//models/fashion_mnist:predict", "/v2/models//infer"])
def test_a_path_with_two_slashes_is_a_path_like_others(server: Any, path: str) -> None:
    reply = requests.post(f"{server.url}{path}", allow_redirects=False, timeout=TIMEOUT)
    assert reply.status_code == 404
    assert "json" in reply.headers["Content-Type"]
