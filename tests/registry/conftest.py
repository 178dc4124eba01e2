"""A card, a store, and a way to publish into it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.card import ModelCard, TensorSpec
from registry.store import ModelStore


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="fashion_mnist",
        run="20260131-120000-basic",
        created="2026-01-31T12:00:00+00:00",
        classes=("T-shirt/top", "Trouser"),
        input=TensorSpec("images", (28, 28, 1), "float32"),
        output=TensorSpec("probabilities", (2,), "float32"),
        data={"name": "fashion_mnist", "sha256": "ab" * 32, "images": {"train": 55_000, "test": 10_000}},
        config={"model": "basic", "seed": 7, "learning_rate": 0.001},
        metrics={"test_accuracy": 0.9, "test_interval": [0.89, 0.91]},
        libraries={"python": "3.11.7", "tensorflow": "2.21.0"},
        commit="0123abc",
    )


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", "fashion_mnist")


@pytest.fixture
def publish(store: ModelStore, card: ModelCard) -> Callable[..., int]:
    """Publish a small version; keywords replace fields of its card. Returns its number."""

    def published(to: ModelStore = store, **changes: Any) -> int:
        with to.stage() as staged:
            (staged / "saved_model.pb").write_bytes(b"graph")
            (staged / "variables").mkdir()
            (staged / "variables" / "variables.index").write_bytes(b"weights")
            return to.publish(staged, replace(card, **changes))

    return published


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB of its own, to fill or to make read-only."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)
