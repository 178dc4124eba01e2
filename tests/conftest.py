"""Shared by all tests: a small sample of real images, and one finished training on it.

Nothing here imports TensorFlow before a fixture needs it, because that takes seconds in every test process.
"""

import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from tests import leftovers
from trainer.config import RunOptions, TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.prepare import prepare

ROOT = Path(__file__).parent.parent
WITH_TENSORFLOW = re.compile(r"^pytestmark = .*pytest\.mark\.tensorflow", re.MULTILINE)
NEED_TENSORFLOW = {"artifacts", "models"}  # fixtures that train a model, or save one
SAMPLE = Path(__file__).parent / "data" / "fashion_mnist_sample"


def train_and_push(configs: list[TrainConfig], artifacts: Path, **options: Any) -> Any:
    """What the trainer's command line does with these configs; `options` are fields of `RunOptions`."""
    from trainer import pipeline

    chosen = RunOptions(artifacts, **options)
    return pipeline.run(configs, prepare(configs[0], chosen), chosen)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The light part does not even import the files whose tests all need TensorFlow."""
    if "not tensorflow" in config.option.markexpr and collection_path.name.startswith("test_"):
        return bool(WITH_TENSORFLOW.search(collection_path.read_text())) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with a fixture that needs TensorFlow needs it too; slow tests wait for several processes in turn."""
    for item in items:
        if not NEED_TENSORFLOW.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.tensorflow)
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def sample() -> ImageDataset:
    """500 training images (400 of them train, 100 validate) and 200 test images of Fashion-MNIST."""
    return load(f"idx:{SAMPLE}", Path("unused"))


@pytest.fixture
def legends_on_plots(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each legend of the figures that a test saves: whether it covers a part of a plot."""
    from matplotlib.figure import Figure

    save, found = Figure.savefig, []

    def saved(figure: Figure, *args: Any, **options: Any) -> None:
        save(figure, *args, **options)
        for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
            found.append(any(legend.get_window_extent().overlaps(axes.bbox) for axes in figure.axes))

    monkeypatch.setattr(Figure, "savefig", saved)
    return found


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of one finished training on the sample: one run, one pushed version."""
    folder = tmp_path_factory.mktemp("artifacts")
    config = TrainConfig(dataset=f"idx:{SAMPLE}", optimizer="adam", learning_rate=3e-3, batch_size=32, epochs=6)
    # How well so few images calibrate is luck, which few of the tests are about.
    train_and_push([config], folder, overrides={"calibration_error": 0.2})
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_options_of_an_outer_make() -> Iterator[None]:
    """A `make` that runs the tests hands its options and variables down to each `make` that a test runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_process_outlives_the_tests() -> Iterator[None]:
    """Whatever the tests of this session started ends with them."""
    os.environ[leftovers.VARIABLE] = session = uuid.uuid4().hex
    yield
    left = leftovers.left(session, seconds=60)
    leftovers.end(left)
    assert not left, f"These processes were left running, and were killed now: {left}"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that the test starts end at Ctrl-C, even if the tests run in the background, where it is ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
