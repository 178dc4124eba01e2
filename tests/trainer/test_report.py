"""What is said after a training is true of what is then served."""

import shutil
from pathlib import Path

import pytest

from registry.store import ModelStore
from trainer.report import to_serve

pytestmark = pytest.mark.tensorflow


def test_a_push_beside_a_pinned_version_says_which_one_is_served(artifacts: Path, tmp_path: Path) -> None:
    name = "fashion_mnist_sample"
    shutil.copytree(artifacts / "models" / name, tmp_path / "models" / name)
    store = ModelStore(tmp_path / "models", name)
    assert to_serve(store, 1) == f"Serve it:  ARTIFACTS={tmp_path} make serve"
    shutil.copytree(store.path(1), store.path(2))
    store.pin(1)
    assert to_serve(store, 2) == "Version 1 is pinned, and is served until `python -m registry unpin`."
