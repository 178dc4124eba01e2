"""The images of the service: built on a bare Debian, run as they are meant to be run, and held to their limits.

make image-test; IMAGE_BASE names another base that is here already.
"""

import http.client
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.deploy.containers import Running, enter, inspect, layers, mounted, running

pytestmark = pytest.mark.image

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "serving" / "samples" / "ankle-boot.png"
BASE = "localhost/debian-python:bookworm"
TIMEOUT = 300
TRAINING = ("keras_tuner", "matplotlib", "tensorflow_datasets", "trainer", "tuning", "pip")


@dataclass(frozen=True)
class Image:
    """A built image, and its limits.

    Attributes:
        weight: MB above its base.
        start: processor time until a cold start has answered, over what `import_seconds` says.
    """

    tag: str
    weight: int
    start: float
    absent: tuple[str, ...]


TARGETS = {
    "serve-lite": Image("localhost/cnn-model-service:serve-lite", 150, 4.0, (*TRAINING, "tensorflow", "keras")),
    "serve": Image("localhost/cnn-model-service:serve", 1300, 20.0, TRAINING),
}


@pytest.fixture(scope="module")
def base() -> str:
    for tool in ("buildah", "unshare", "setpriv", "debootstrap"):
        if not shutil.which(tool):
            pytest.skip(f"no image was built or run: {tool} is not installed (apt-get install buildah debootstrap)")
    if os.geteuid():
        pytest.skip("no image was built or run: debootstrap and chroot need root")
    if name := os.environ.get("IMAGE_BASE"):
        return name
    if subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:
        made = subprocess.run([ROOT / "deploy" / "debian.sh"], capture_output=True, text=True, check=False)
        if made.returncode:
            last = made.stderr.strip().rpartition("\n")[2]
            pytest.skip(f"no image was built or run: a base could not be made here ({last})")
    return BASE


@pytest.fixture(scope="module", params=TARGETS)
def image(request: pytest.FixtureRequest, base: str, tmp_path_factory: pytest.TempPathFactory) -> Image:
    found = TARGETS[request.param]
    make_image(found.tag, request.param, base, tmp_path_factory.mktemp("secrets"))
    return found


def make_image(tag: str, target: str, base: str, directory: Path, *options: str) -> None:
    """Run `make image` with buildah, and with the pip settings and certificates of this machine as secrets."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
    values = {key.rpartition(".")[2]: value.strip("'") for key, value in settings.items()}
    lines = [f"{key} = {values[key]}" for key in ("index-url", "trusted-host", "timeout") if key in values]
    secrets = [f"--secret id=pip,src={directory / 'pip.conf'}"]
    if "cert" in values:
        lines.append("cert = /run/secrets/ca")
        secrets.append(f"--secret id=ca,src={values['cert']}")
    (directory / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    command = ["make", "image", f"IMAGE={tag}", f"TARGET={target}", f"BASE={base}", f"PYTHON={sys.executable}"]
    environ = os.environ | {"BUILDAH_ISOLATION": "chroot"}  # works where no other isolation does
    subprocess.run(
        [*command, "ENGINE=buildah", f"ARGS={' '.join(secrets)}", *options], cwd=ROOT, env=environ, check=True
    )


@pytest.fixture(scope="module")
def readable(models: Path) -> Path:
    """The models as a volume that others may read; pytest's own directories are its user's alone."""
    subprocess.run(["chmod", "-R", "a+rX", models], check=True)
    return models


@pytest.fixture(scope="module")
def container(
    image: Image, readable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, float]]:
    """A ready container, and the seconds from its start to its first prediction."""
    begin = time.monotonic()
    with running(image.tag, tmp_path_factory.mktemp("container") / "log", readable) as started:
        started.wait_for("/readyz", 200)
        predict(started)
        yield started, time.monotonic() - begin


def predict(container: Running) -> str:
    reply = requests.post(f"{container.url}/predict", files={"image": SAMPLE.read_bytes()}, timeout=TIMEOUT)
    assert reply.status_code == 200, reply.text
    label: str = reply.json()["predictions"][0]["label"]
    return label


def test_it_weighs_no_more_than_it_may(image: Image, base: str, tmp_path: Path) -> None:
    above = layers(image.tag, tmp_path / "image")[len(layers(base, tmp_path / "base")) :]
    print(f"\n{image.tag}, layer by layer above its base:")
    for made, size in above:
        print(f"{size / 1e6:8.1f} MB  {made.removeprefix('/bin/sh -c #(nop) ')[:60]}")
    assert sum(size for _, size in above) / 1e6 <= image.weight


def test_it_answers_soon_after_a_cold_start(image: Image, container: tuple[Running, float]) -> None:
    print(f"\n{image.tag} answered {container[1]:.1f} s after its start")
    used, imports = container[0].processor_seconds(), import_seconds(image.tag)
    print(f"It used {used:.2f} s of processor time; importing a few packages takes {imports:.2f} s")
    # Other work on the machine hardly lengthens processor time, and a slow processor lengthens both.
    assert used <= image.start * imports


def import_seconds(tag: str) -> float:
    """Processor time in which the image's Python starts and imports three of its packages: the median of three runs."""
    config, measured = inspect(tag), []
    with mounted(tag) as root:
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = enter(root, config, ["python3", "-c", "import flask, numpy, PIL.Image"], {})
            subprocess.run(command, timeout=TIMEOUT, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            measured.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(measured)


def test_it_runs_as_nobody_in_particular_without_privileges(container: tuple[Running, float]) -> None:
    status = Path(f"/proc/{container[0].pid}/status").read_text()
    assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status


def test_the_service_is_process_1_and_its_root_is_read_only(container: tuple[Running, float]) -> None:
    here = Path("/proc", str(container[0].pid))
    assert b"gunicorn" in (here / "cmdline").read_bytes()
    root = next(line.split() for line in (here / "mountinfo").read_text().splitlines() if line.split()[4] == "/")
    assert root[5].split(",")[0] == "ro"


def test_its_health_check_tells_whether_it_is_ready(image: Image, container: tuple[Running, float]) -> None:
    config = inspect(image.tag)
    kind, *command = config["Healthcheck"]["Test"]
    assert kind == "CMD"
    port = container[0].url.rpartition(":")[2]
    with mounted(image.tag) as root:
        for number, expected in ((port, 0), ("9", 1)):
            line = enter(root, config, command, {"PORT": number})
            done = subprocess.run(line, capture_output=True, timeout=TIMEOUT, check=False)
            assert done.returncode == expected, done.stderr.decode()


def test_what_serving_does_not_need_is_not_in_it(image: Image) -> None:
    with mounted(image.tag) as root:
        (packages,) = (root / "opt" / "venv" / "lib").glob("python3*/site-packages")
        there = {path.name for place in (packages, root / "app") for path in place.iterdir()}
    assert {"flask", "gunicorn", "serving", "registry", "decoding"} <= there
    assert there & set(image.absent) == set()


def test_the_tests_of_the_service_pass_against_it(container: tuple[Running, float]) -> None:
    # From outside, over HTTP: what they import here is not what answers them there. Tests that start a server of
    # their own skip themselves; what the service prints is not looked at here.
    files = ["tests/serving/test_clients.py", "tests/serving/test_server.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not printed", *files]
    environ = os.environ | {"SERVING_URL": container[0].url}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout


def test_sigterm_lets_it_answer_what_it_has_begun(image: Image, readable: Path, tmp_path: Path) -> None:
    sample = SAMPLE.read_bytes()
    with running(image.tag, tmp_path / "log", readable) as started:
        started.wait_for("/readyz", 200)
        clients = [http.client.HTTPConnection(started.url.removeprefix("http://"), timeout=TIMEOUT) for _ in range(8)]
        for client in clients:
            client.putrequest("POST", "/predict")
            client.putheader("Content-Length", str(len(sample)))
            client.endheaders(sample[:100])
        os.kill(started.pid, signal.SIGTERM)
        for client in clients:
            client.send(sample[100:])
        assert [client.getresponse().status for client in clients] == [200] * len(clients)
        for client in clients:
            client.close()
        assert started.unshare.wait(TIMEOUT) == 0
        assert "Traceback" not in started.log.read_text()


def test_without_a_model_it_waits_and_says_what_to_mount(image: Image, readable: Path, tmp_path: Path) -> None:
    (volume := tmp_path / "volume").mkdir()
    volume.chmod(0o755)
    with running(image.tag, tmp_path / "log", volume) as started:
        started.wait_for("/readyz", 503)
        assert started.status("/healthz") == 200
        shutil.copytree(readable / "fashion_mnist", volume / ".copy")
        (volume / ".copy").rename(volume / "fashion_mnist")
        started.wait_for("/readyz", 200)
        predict(started)
        assert "mount a directory of pushed models, such as artifacts/models, at /models" in started.log.read_text()


def test_a_directory_that_its_user_cannot_read_is_named(image: Image, tmp_path: Path) -> None:
    (volume := tmp_path / "volume").mkdir()
    volume.chmod(0o700)
    with running(image.tag, tmp_path / "log", volume) as started:
        assert started.unshare.wait(TIMEOUT) == 2
        log = started.log.read_text()
    assert log.startswith(
        "error: Cannot list the models in /models: Permission denied (/models); change its permissions"
    )
    assert log.count("\n") == 1


def test_a_model_is_baked_in(image: Image, base: str, readable: Path, tmp_path: Path) -> None:
    target, tag = image.tag.rpartition(":")[2], f"{image.tag}-baked"
    make_image(tag, target, base, tmp_path, f"MODEL={readable / 'fashion_mnist'}")
    with running(tag, tmp_path / "log") as started:
        started.wait_for("/readyz", 200)
        predict(started)
