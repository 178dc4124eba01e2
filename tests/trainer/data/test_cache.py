"""Decoded images are held in memory or read from disk, and nobody can tell from the batches."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from trainer.config import TrainConfig
from trainer.data import cache
from trainer.data.batches import TrainingBatches, evaluation_batches
from trainer.data.cache import ImageFile
from trainer.data.dataset import Split

pytestmark = pytest.mark.tensorflow

CHANCE = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(CHANCE.integers(0, 256, (7, 4, 5, 3), dtype=np.uint8), np.arange(7) % 2) for _ in range(count)]

    about = {"source": "chance", "classes": ["a", "b"]}
    cache.write(tmp_path / "set", about, {"train": batches(10), "test": batches(2)})
    return tmp_path / "set"


def test_a_file_gives_what_the_array_gives(folder: Path) -> None:
    held, file = cache.read(folder).images["train"], cache.read(folder, limit=100).images["train"]
    assert isinstance(held, np.ndarray)
    assert isinstance(file, ImageFile)
    assert (file.shape, len(file), file.dtype) == (held.shape, 70, held.dtype)
    chosen = np.array([69, 3, 3])
    np.testing.assert_array_equal(file[chosen], held[chosen])
    np.testing.assert_array_equal(file[20:40][5:][chosen // 10], held[20:40][5:][chosen // 10])
    np.testing.assert_array_equal(file[7], held[7])
    np.testing.assert_array_equal(np.asarray(file[60:]), held[60:])


def test_batches_are_the_same_from_memory_and_from_disk(folder: Path) -> None:
    config = TrainConfig(batch_size=16, mirror=True, seed=3)
    drawn = []
    for limit in (cache.MEMORY_LIMIT, 100):
        found = cache.read(folder, limit)
        split = Split(found.images["train"], found.labels["train"])
        pipelines = (TrainingBatches(split, config).dataset, evaluation_batches(split))
        drawn.append([batch for pipeline in pipelines for batch in pipeline.as_numpy_iterator()])
    for (images, labels), (others, their) in zip(*drawn, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, their)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_is_too_short_or_too_long_is_noticed(folder: Path, change: int) -> None:
    path = folder / "test_images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"x")
    with pytest.raises(ValueError, match=f"expected 840 bytes of pixels, found {840 + change}"):
        cache.read(folder)


def test_a_copy_of_another_version_of_the_project_is_not_taken(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    for content in ({**about, "format": 1}, {key: value for key, value in about.items() if key != "format"}):
        (folder / "about.json").write_text(json.dumps(content))
        with pytest.raises((ValueError, KeyError), match="format"):
            cache.read(folder)


def test_images_can_be_read_after_their_file_is_removed(folder: Path) -> None:
    held, file = cache.read(folder).images["train"], cache.read(folder, limit=100).images["train"]
    shutil.rmtree(folder)
    chosen = np.arange(70) % 3 == 1
    np.testing.assert_array_equal(np.asarray(file[chosen][2:9]), held[chosen][2:9])
    assert len(file[70:]) == len(np.asarray(file[70:])) == 0


def test_a_failure_while_decoding_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> object:
        yield np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        cache.write(tmp_path / "kept" / "set", {}, {"train": batches()})
    assert not list((tmp_path / "kept").iterdir())


STREAMING = """
import resource, sys
from pathlib import Path
import numpy as np
from trainer.data import cache, schema
from trainer.data.batches import TrainingBatches, evaluation_batches
from trainer.config import TrainConfig
from trainer.data.load import load

def batches(count):
    chance = np.random.default_rng(0)
    for _ in range(count):
        yield chance.integers(0, 256, (500, 64, 64, 3), dtype=np.uint8), chance.integers(0, 2, 500)

data_dir = Path(sys.argv[1])
about = {"source": "chance", "classes": ["a", "b"]}
cache.write(data_dir / "decoded" / "chance", about, {"train": batches(int(sys.argv[2])), "test": batches(1)})
dataset = load("chance", data_dir, memory_limit=4 * 2**20)
assert isinstance(dataset.train.images, cache.ImageFile)
schema.statistics(dataset)
for pipeline in (TrainingBatches(dataset.train, TrainConfig(shift=2)).dataset, evaluation_batches(dataset.train)):
    print(sum(len(images) for images, _ in pipeline))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_on_a_set_larger_than_the_limit(tmp_path: Path) -> None:
    """Sets of 29 and 293 MiB, inspected, trained on and judged with a limit of 4: their peaks hardly differ."""
    peaks = []
    for count in (4, 49):
        command = [sys.executable, "-c", STREAMING, str(tmp_path / str(count)), str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 60, peaks  # MiB
