"""Every command in docs/ does what its page says: they are run in order, as a reader would, on a model of their own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from registry.store import ModelStore, models
from serving.settings import Settings
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 120


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / "docs" / page).read_text())


class Reader:
    """Types the blocks of a page; `make serve` runs on in a terminal of its own."""

    def __init__(self, artifacts: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.environment = os.environ | {"ARTIFACTS": str(artifacts), "PORT": self.port, "VENV": sys.prefix}
        self.server: subprocess.Popen[bytes] | None = None

    def type(self, block: str) -> str:
        command = block.replace(".venv/bin/python", sys.executable).replace(":8080", f":{self.port}")
        arguments = ["bash", "-euo", "pipefail", "-c", command]
        if "make serve" in block:
            self.server = subprocess.Popen(
                arguments, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True
            )
            self.wait_until_it(listens=True)
            return ""
        done = subprocess.run(
            arguments, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-500:]}{done.stderr[-2000:]}"
        return done.stdout

    def wait_until_it(self, listens: bool) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with socket.socket() as probe:
                if (probe.connect_ex(("127.0.0.1", int(self.port))) == 0) == listens:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the server listens: {not listens}")

    def leave(self, how: int = signal.SIGINT) -> None:
        """Press Ctrl-C in the terminal of the server, where there is one, and see it go."""
        if self.server and self.server.returncode is None:
            os.killpg(self.server.pid, how)
            self.server.wait(SECONDS)
            self.wait_until_it(listens=False)


@pytest.fixture
def reader(tmp_path: Path, interruptible: None) -> Iterator[Reader]:
    reader = Reader(tmp_path / "artifacts")
    yield reader
    reader.leave(signal.SIGKILL)


@pytest.mark.slow
def test_the_tutorial_leads_from_a_clone_to_answers(reader: Reader) -> None:
    said = "\n".join(reader.type(block) for block in blocks("tutorial.md"))
    assert "Pushed basic as version 1 of fashion_mnist_sample" in said
    assert '"file":"ankle-boot.png"' in said
    assert "longest side to 28, sharpened" in said
    assert said.count('"file":"boot.jpg"') == 2 > said.count('"preprocessing":"light')
    assert '"openapi": "3.1.0"' in said
    assert "\nTrouser\n" in said
    reader.leave()


def push_another(root: Path) -> None:
    """Push a copy of the only model under another name, as if long after."""
    (name,) = models(root)
    store, other = ModelStore(root, name), ModelStore(root, "another")
    with other.stage() as staged:
        shutil.copytree(store.path(1), staged, dirs_exist_ok=True)
        other.publish(staged, replace(store.card(1), name="another", created="2100-01-01T00:00+00:00"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_the_operations_page_says_what_can_be_done(reader: Reader, artifacts: Path, count: int) -> None:
    root = Path(reader.environment["ARTIFACTS"]) / "models"
    shutil.copytree(artifacts / "models", root)
    if count == 2:
        push_another(root)
    said = "\n".join(reader.type(block) for block in blocks("operations.md"))
    assert "MAX_IMAGE_PIXELS" in said
    assert '"status":"ready"' in said
    assert "serving_requests_total" in said
    assert re.search(r"^[0-9a-f]{64}$", said, re.MULTILINE)
    assert '"state":"served"' in said
    assert said.count('{"name":') == count
    reader.leave()


def sources() -> str:
    """The project's code, tests and Makefile."""
    files = [ROOT / "Makefile", *ROOT.glob("*/**/*.py")]
    return "\n".join(file.read_text() for file in files if ".venv" not in file.parts)


def test_every_metric_that_the_pages_name_is_served() -> None:
    from serving import metrics  # noqa: F401  # registers them
    from serving.metrics import REGISTRY

    known = {f"{metric.name}{suffix}" for metric in REGISTRY.collect() for suffix in ("", "_total")}
    named = {name for page in PAGES[1:] for name in re.findall(r"`(serving_[a-z_]+)`", page.read_text())}
    assert named
    assert named <= known


def test_every_variable_and_test_that_the_pages_name_is_in_the_code() -> None:
    code = sources()
    known = set(re.findall(r"\w+", code)) | {each.name.upper() for each in fields(Settings)}
    for page in PAGES:
        text = page.read_text()
        variables = set(re.findall(r"`([A-Z_]{4,})[=`]", text))
        assert variables <= known, page
        for test in re.findall(r"`(test_\w+)`", text):
            assert f"def {test}(" in code, page


def test_every_file_that_the_pages_name_is_there() -> None:
    named = set()
    for page in PAGES:
        text = page.read_text()
        named |= {page.parent / link for link in re.findall(r"\]\((?!http)([^)#]+)", text)}
        paths = re.findall(r"`([a-z]+)(/[\w./-]*)`", text)
        named |= {ROOT / (top + rest) for top, rest in paths if top != "artifacts" and (ROOT / top).is_dir()}
    assert named
    assert [path for path in named if not path.exists()] == []


def test_the_layout_in_architecture_names_every_file() -> None:
    text, named, package = (ROOT / "docs/architecture.md").read_text(), set(), "registry"
    for line in text.partition("```\nregistry/ ")[2].partition("```")[0].splitlines():
        if found := re.match(r"(\w+)/ |  ([\w./]+\.py) ", line):
            package = found[1] or package
            named |= {f"{package}/{found[2]}"} if found[2] else set()
    packages = ("registry", "decoding", "trainer", "tuning", "study", "serving", "deploy", "benchmarks")
    files = {str(file.relative_to(ROOT)) for package in packages for file in (ROOT / package).rglob("*.py")}
    assert named == {file for file in files if not file.endswith(("__init__.py", "__main__.py"))}
