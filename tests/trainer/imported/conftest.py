"""Imports as the command line makes them, in this process, and without starting a server unless a test is about it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.imported.foreign import CLASSES

Importing = Callable[..., int]


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("classes") / "classes.txt"
    file.write_text("\n".join(CLASSES))
    return file


@pytest.fixture(scope="session")
def importing(classes: Path) -> Iterator[Importing]:
    """`python -m trainer import PATH --name imported ...`; returns the exit code."""
    from trainer import __main__
    from trainer.imported import pipeline
    from trainer.release.checks import Check

    passed = Check("infra", True, 0.0, 1e-3, "No server was started.")

    def run(path: Path, artifacts: Path, *options: str, classes: Path = classes) -> int:
        given = ["trainer", "import", str(path), "--classes", str(classes), "--artifacts", str(artifacts)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "infra", lambda *_: passed)
            patch.setattr(sys, "argv", [*given, "--name", "imported", *options])
            return __main__.main()

    return run


def draw(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Pictures in a folder for each class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    return folder
