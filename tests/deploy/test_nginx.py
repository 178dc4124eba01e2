"""The proxy of compose.yaml: a real nginx with the settings of deploy/nginx.conf, in front of a real service."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from serving.settings import Settings
from tests.serving.conftest import running, skip_where_a_server_is_named
from tests.serving.wire import Connection, predict

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]  # starts several servers or a browser

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "serving" / "samples" / "ankle-boot.png"
SECONDS = 120.0  # far more than anything here takes
CLIENT_TIMEOUT = 1  # of the service, in seconds


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    skip_where_a_server_is_named()
    log = tmp_path_factory.mktemp("service") / "log"
    with running(models, log=log, RUNTIME="litert", CLIENT_TIMEOUT=str(CLIENT_TIMEOUT)) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def proxy(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx that passes requests on to `service`."""
    settings = (ROOT / "deploy" / "nginx.conf").read_text()
    with nginx(settings, service.port, tmp_path_factory.mktemp("nginx")) as port:
        yield port


@contextmanager
def nginx(settings: str, upstream: int, directory: Path) -> Iterator[int]:
    """Run nginx with `settings`, of which only addresses and directories are changed; yields its port."""
    if not shutil.which("nginx"):
        pytest.skip("the settings of nginx were not tried: it is not installed (apt-get install nginx-light)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changes = {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "serving:8080": f"127.0.0.1:{upstream}",
        "/tmp/": f"{directory}/",  # noqa: S108
        "/etc/nginx/": f"{directory}/",
    }
    for old, new in changes.items():
        assert old in settings
        settings = settings.replace(old, new)
    (directory / "nginx.conf").write_text(settings)
    # Started by root, nginx would become another user, who cannot read pytest's directories.
    user = "" if os.geteuid() else "user root;"
    command = ["nginx", "-c", str(directory / "nginx.conf"), "-g", f"daemon off;{user}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + SECONDS
            while not _listens(port):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < end, "nginx does not listen"
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_probes_and_predictions_pass_through(proxy: int) -> None:
    url = f"http://127.0.0.1:{proxy}"
    assert requests.get(f"{url}/healthz", timeout=SECONDS).status_code == 200
    assert requests.get(f"{url}/readyz", timeout=SECONDS).status_code == 200
    reply = requests.post(f"{url}/predict", files={"image": SAMPLE.read_bytes()}, timeout=SECONDS)
    assert reply.status_code == 200
    assert len(reply.json()["predictions"]) == 1
    assert reply.headers["X-Request-ID"]


def test_a_request_beyond_a_limit_is_answered_413_by_the_proxy_or_the_service(proxy: int) -> None:
    url = f"http://127.0.0.1:{proxy}/predict"
    settings = Settings()
    reply = requests.post(url, data=bytes(settings.max_body_bytes + 1), timeout=SECONDS)
    assert (reply.status_code, reply.headers["Server"][:5]) == (413, "nginx")
    pixels = bytes(784 * (settings.max_images + 1))
    reply = requests.post(url, data=pixels, headers={"Content-Type": "application/octet-stream"}, timeout=SECONDS)
    assert (reply.status_code, reply.headers["Content-Type"]) == (413, "application/problem+json")


def test_a_slow_client_is_waited_for_by_the_proxy_and_not_by_the_service(proxy: int, service: Any) -> None:
    request = predict()
    with Connection(service.port) as direct, Connection(proxy) as slow:
        for each in (direct, slow):
            each.send(request[:-100])
        # The service gives up a client that pauses for longer than CLIENT_TIMEOUT.
        assert direct.reply().status == 408
        slow.send(request[-100:])
        assert slow.reply().status == 200


def test_a_certificate_is_all_that_tls_needs(service: Any, tmp_path: Path) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    settings = (ROOT / "deploy" / "nginx.conf").read_text()
    for line in ("listen 8443 ssl;", "ssl_certificate /etc/nginx/tls.crt;", "ssl_certificate_key /etc/nginx/tls.key;"):
        assert f"# {line}" in settings
        settings = settings.replace(f"# {line}", line)
    settings = settings.replace("listen 8080;", "# listen 8080;")
    with nginx(settings, service.port, tmp_path) as port:
        reply = requests.get(f"https://127.0.0.1:{port}/readyz", verify=str(tmp_path / "tls.crt"), timeout=SECONDS)
        assert reply.status_code == 200
