"""README and docs/ hold what they promise.

Every `sh` block of docs/ and of README's "Call it" is run, and the API's `python` blocks; of the commands that take
long or need a cluster, in `bash` blocks, the options are parsed.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from registry import __main__ as registry
from registry.models import models
from registry.store import ModelStore
from serving.settings import Settings
from study import __main__ as study
from tests.conftest import ROOT
from trainer import options as training
from trainer.imported import options as importing
from tuning import __main__ as tuning

README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```(\w*)\n(.*?)^```|`([^`]+)`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:make [a-z]|\.venv/bin/python -m ).*")
SECONDS = 900  # for a command; training on 400 images took more than 120 beside much other work


def blocks(page: Path, section: str = "") -> list[str]:
    """The commands of a page, or of one of its sections."""
    text = page.read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    programs = {"sh": "{}", "python": ".venv/bin/python - <<'PROGRAM'\n{}PROGRAM\n"}
    return [programs[kind].format(block) for kind, block in BLOCK.findall(text)]


class Reader:
    """Types the blocks of a page; `make serve` runs on in a terminal of its own."""

    def __init__(self, artifacts: Path) -> None:
        self.environment = os.environ | {"ARTIFACTS": str(artifacts), "VENV": sys.prefix}
        self.server: subprocess.Popen[bytes] | None = None
        self.port = "0"

    def type(self, block: str) -> str:
        if "make serve" in block:
            # Just before it is needed: a port that is free now may be another program's in some minutes.
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = self.environment["PORT"] = str(free.getsockname()[1])
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
@pytest.mark.timeout(3600)
def test_the_tutorial_leads_from_a_clone_to_answers(reader: Reader) -> None:
    said = "\n".join(reader.type(block) for block in blocks(DOCS / "tutorial.md"))
    assert "Pushed basic as version 1 of fashion_mnist_sample" in said
    assert '"file":"ankle-boot.png"' in said
    assert "longest side to 28, sharpened" in said
    assert said.count('"file":"boot.jpg"') == 2 > said.count('"preprocessing":"light')
    assert '"openapi": "3.1.0"' in said
    assert "\nTrouser\n" in said
    reader.leave()


def push_copy(root: Path, name: str) -> None:
    """Push a copy of the only model under another name, as if long after."""
    (only,) = models(root)
    store, other = ModelStore(root, only), ModelStore(root, name)
    with other.stage() as staged:
        shutil.copytree(store.path(1), staged, dirs_exist_ok=True)
        other.publish(staged, replace(store.card(1), name=name, created="2100-01-01T00:00+00:00"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_the_operations_page_says_what_can_be_done(reader: Reader, artifacts: Path, count: int) -> None:
    root = Path(reader.environment["ARTIFACTS"]) / "models"
    shutil.copytree(artifacts / "models", root)
    if count == 2:
        push_copy(root, "another")
    said = "\n".join(reader.type(block) for block in blocks(DOCS / "operations.md"))
    assert "MAX_IMAGE_PIXELS" in said
    assert '"status":"ready"' in said
    assert "serving_requests_total" in said
    assert re.search(r"^[0-9a-f]{64}$", said, re.MULTILINE)
    assert '"state":"served"' in said
    assert len(re.findall(r'{"name":"\w+","version":(?:1|null)}', said)) == count
    reader.leave()


@pytest.mark.slow
def test_the_api_page_and_the_readme_show_requests_that_are_answered(reader: Reader, artifacts: Path) -> None:
    root = Path(reader.environment["ARTIFACTS"]) / "models"
    shutil.copytree(artifacts / "models", root)
    push_copy(root, "fashion_mnist")
    said = "\n".join(reader.type(block) for block in [*blocks(DOCS / "api.md"), *blocks(README, "Call it")])
    assert '"file":"ankle-boot.png"' in said
    assert '"model_version_status"' in said
    assert "must be a list of 28 x 28 numbers" in said
    assert 'Received: unknown."}' in said
    assert re.search(r"^\['0\.\d+:\d:", said, re.MULTILINE)
    reader.leave()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_page_on_data_trains_on_pictures_of_ones_own(reader: Reader, tmp_path: Path) -> None:
    shapes, rng = tmp_path / "shapes", np.random.default_rng(0)
    for name in ("circle", "square"):
        (shapes / name).mkdir(parents=True)
        for number in range(60):
            image = Image.fromarray(rng.integers(0, 60, (32, 32), np.uint8))
            x, y = rng.integers(0, 12, 2).tolist()
            outline = ImageDraw.Draw(image).ellipse if name == "circle" else ImageDraw.Draw(image).rectangle
            outline((x, y, x + 18, y + 18), width=3, outline="white")
            image.save(shapes / name / f"{number}.png")
    (block,) = blocks(DOCS / "data.md")
    said = reader.type(block.replace("folder:shapes", f"folder:{shapes} --threshold calibration_error=0.2"))
    assert "Would train" in said
    assert "as version 1 of shapes" in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_on_importing_serves_a_model_of_another_trainer(reader: Reader, tmp_path: Path) -> None:
    import keras  # slow to import

    scores = keras.layers.Dense(2, "softmax")
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.GlobalAveragePooling2D(), scores])
    scores.set_weights([np.array([[-40.0, 40.0]]), np.array([20.0, -20.0])])
    model.save(tmp_path / "flowers.keras")
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    for name, levels in {"dark": (0, 80), "bright": (170, 250)}.items():
        (tmp_path / "held-out" / name).mkdir(parents=True)
        for number, level in enumerate(np.linspace(*levels, 60).astype(int).tolist()):
            Image.new("L", (32, 32), level).save(tmp_path / "held-out" / name / f"{number}.png")
    block, *_ = blocks(DOCS / "importing.md")
    imported, served = block.splitlines()
    for file in ("flowers.keras", "classes.txt", "held-out"):
        imported = imported.replace(file, str(tmp_path / file))
    assert "as version 1 of flowers" in reader.type(imported)
    reader.type(served)
    reader.leave()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_on_tuning_searches_and_pushes(reader: Reader) -> None:
    (block,) = blocks(DOCS / "tuning.md")
    block = block.replace("--model-name tuned", "--model-name tuned --threshold calibration_error=0.2")
    assert "as version 1 of tuned" in reader.type(block)
    assert (Path(reader.environment["ARTIFACTS"]) / "tuning").is_dir()


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


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_section_that_the_pages_link_to_is_there() -> None:
    for page in PAGES:
        for file, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", page.read_text()):
            assert anchor in anchors(page.parent / file if file else page), f"{page.name}: {file}#{anchor}"


def test_the_layout_in_architecture_names_every_file() -> None:
    text, named, package = (DOCS / "architecture.md").read_text(), set(), "registry"
    for line in text.partition("```\nregistry/ ")[2].partition("```")[0].splitlines():
        if found := re.match(r"(\w+)/ |  ([\w./]+\.py) ", line):
            package = found[1] or package
            named |= {f"{package}/{found[2]}"} if found[2] else set()
    packages = ("registry", "decoding", "trainer", "tuning", "study", "serving", "deploy", "benchmarks")
    files = {str(file.relative_to(ROOT)) for package in packages for file in (ROOT / package).rglob("*.py")}
    assert named == {file for file in files if not file.endswith(("__init__.py", "__main__.py"))}


def test_the_same_version_stands_in_the_package_the_api_and_the_changelog() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    api = json.loads((ROOT / "serving" / "api" / "openapi.json").read_text())["info"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert package == api == newest[1]


def commands() -> set[str]:
    """Every command of the pages that begins with make or with a module of ours."""
    found = [each for page in PAGES for each in CODE.findall(page.read_text())]
    code = [fenced or " ".join(inline.split()) for kind, fenced, inline in found if kind in ("sh", "bash", "")]
    return {line for text in code for line in COMMAND.findall(text.replace("\\\n", " "))}


def module_and_options(command: str) -> list[str]:
    """What follows `python -m` in a command, or in the one that make runs for it; empty where make runs another."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        words = shlex.split(done.stdout.splitlines()[-1])
    return words[words.index("-m") + 1 :] if "-m" in words else []


def parse(module: str, *options: str) -> None:
    """Read the options as `python -m MODULE` does, as far as that needs neither data nor TensorFlow."""
    if module == "trainer" and options[:1] == ("push",):
        training.push_parser().parse_args(options[1:])
    elif module == "trainer" and options[:1] == ("import",):
        importing.parsed(options[1:])
    elif module == "trainer":
        training.configs(training.training_parser().parse_args(options), Path("runs"))
    elif module == "tuning":
        tuning.search_of(tuning.parser().parse_args(options))
    elif module in ("study", "registry"):
        {"study": study, "registry": registry}[module].parser().parse_args(options)
    else:
        assert find_spec(module), module


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_that_the_pages_name_is_understood(command: str) -> None:
    if words := module_and_options(command):
        with suppress(SystemExit) if "--help" in words else nullcontext():
            parse(*words)
