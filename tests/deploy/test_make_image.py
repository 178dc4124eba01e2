"""`make image` with an engine that only notes what it is asked: it builds the target, and then the model on top."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A command that appends its arguments to the file `builds`, a line a build."""
    script = tmp_path / "engine"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "builds"}\n')
    script.chmod(0o755)
    return script


def make(engine: Path | str, context: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "image", f"ENGINE={engine}", f"BAKED={context}", f"PYTHON={sys.executable}", *options]
    environ = {name: value for name, value in os.environ.items() if name not in ("TARGET", "MODEL", "BASE", "IMAGE")}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_the_target_is_built_with_its_revision_and_the_served_version_on_top(
    engine: Path, models: Path, tmp_path: Path
) -> None:
    model, context = models / "fashion_mnist", tmp_path / "context"
    done = make(engine, context, "TARGET=serve-lite", f"MODEL={model}", "ARGS=--no-cache")
    assert done.returncode == 0, done.stderr
    target, baked = (tmp_path / "builds").read_text().splitlines()
    assert target.startswith("build --tag cnn-model-service:serve-lite --target serve-lite --label org.opencontainers")
    assert target.endswith(" --no-cache .")
    assert baked == f"build --tag cnn-model-service:serve-lite --build-arg IMAGE=cnn-model-service:serve-lite {context}"
    card = Path("1", "assets.extra", "model_card.json")
    copied = context / "models" / "fashion_mnist" / card
    assert copied.read_bytes() == (model / card).read_bytes()
    assert copied.stat().st_mode & 0o004


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(True, "error: a damaged version is not baked in: "), (False, "error: MODEL must be a directory of versions")],
)
def test_a_model_that_cannot_be_served_ends_it_before_anything_is_built(
    engine: Path, tmp_path: Path, damage: bool, reason: str, models: Path
) -> None:
    model = tmp_path / "models" / "fashion_mnist"
    model.mkdir(parents=True)
    if damage:
        subprocess.run(["cp", "-r", models / "fashion_mnist" / "1", model], check=True)
        (model / "1" / "saved_model.pb").write_bytes(b"")
    done = make(engine, tmp_path / "context", f"MODEL={model}")
    assert done.returncode == 2
    assert done.stderr.startswith(reason)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "builds").exists()


def test_without_an_engine_it_says_what_to_install(tmp_path: Path) -> None:
    done = make("", tmp_path / "context")
    assert done.returncode == 2
    assert done.stderr.startswith("error: docker, podman or buildah must be installed and working.")
