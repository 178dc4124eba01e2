"""Decoded images are written once and mapped from disk, so that memory holds only what is used of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tuning.disk import full_at
from trainer.config import TrainConfig
from trainer.data import batches, cache
from trainer.data.batches import TrainingBatches, evaluation_batches
from trainer.data.dataset import Decoded

pytestmark = pytest.mark.tensorflow

SIZES = {"train": 10, "validation": 3, "test": 2}  # batches of seven images


@pytest.fixture
def made() -> list[tuple[str, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    names = [name for name, count in SIZES.items() for _ in range(count)]
    return [(name, rng.integers(0, 256, (7, 4, 5, 3), dtype=np.uint8), np.arange(7) % 2) for name in names]


@pytest.fixture
def folder(made: list[tuple[str, np.ndarray, np.ndarray]], tmp_path: Path) -> Path:
    cache.write(tmp_path / "set", {"source": "chance", "classes": ["a", "b"], "left_out": ["c"]}, made)
    return tmp_path / "set"


def whole(folder: Path) -> Decoded:
    found = cache.read(folder)
    assert found is not None
    return found


def test_what_was_written_is_read_again(folder: Path, made: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    found = whole(folder)
    assert (found.source, found.classes, found.left_out) == ("chance", ("a", "b"), ("c",))
    for name, split in found.splits.items():
        np.testing.assert_array_equal(split.images, np.concatenate([images for of, images, _ in made if of == name]))
        np.testing.assert_array_equal(split.labels, np.concatenate([labels for of, _, labels in made if of == name]))


def test_reading_holds_no_pixels(folder: Path, peak: Callable[..., int]) -> None:
    large = [("train", np.zeros((1000, 64, 64, 3), np.uint8), np.zeros(1000))] * 3  # 37 MB
    cache.write(folder.with_name("large"), {"source": "zeros", "classes": ["a", "b"]}, large)
    assert peak(lambda: cache.read(folder.with_name("large"))) < 1e6


def test_batches_are_the_same_from_memory_and_from_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(batch_size=16, mirror=True, seed=3)
    split, drawn = whole(folder).splits["train"], []
    for limit in (batches.IN_MEMORY, 100):
        monkeypatch.setattr(batches, "IN_MEMORY", limit)
        pipelines = (TrainingBatches(split, config).dataset, evaluation_batches(split))
        drawn.append([batch for pipeline in pipelines for batch in pipeline.as_numpy_iterator()])
    for (images, labels), (others, their) in zip(*drawn, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, their)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_is_too_short_or_too_long_is_noticed_and_the_copy_removed(
    folder: Path, change: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "test.images"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"x")
    assert cache.read(folder) is None
    assert f"damaged (test.images: expected 840 bytes of pixels, found {840 + change})" in capsys.readouterr().out
    assert not folder.exists()


@pytest.mark.parametrize("form", [1, None])
def test_a_copy_of_another_version_of_the_project_is_not_taken(folder: Path, form: int | None) -> None:
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "format": form}))
    assert cache.read(folder) is None


def test_images_can_be_read_after_their_file_is_removed(folder: Path) -> None:
    images = whole(folder).splits["train"].images
    before = images.copy()
    shutil.rmtree(folder)
    np.testing.assert_array_equal(images, before)


def test_a_failure_while_decoding_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> object:
        yield "train", np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1)
        raise OSError("the decoder failed")

    with pytest.raises(OSError, match="failed"):
        cache.write(tmp_path / "kept" / "set", {}, batches())
    assert not list((tmp_path / "kept").iterdir())


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    batch = ("train", np.zeros((100, 28, 28, 1), np.uint8), np.zeros(100))
    with full_at(50_000), pytest.raises(OSError, match="File too large"):
        cache.write(tmp_path / "kept" / "set", {}, [batch])
    assert not list((tmp_path / "kept").iterdir())


STREAMING = """
import sys
from pathlib import Path
import numpy as np
from trainer.data import batches, cache, checks
from trainer.config import TrainConfig
from trainer.data.load import load

def made(count):
    rng = np.random.default_rng(0)
    for split in ["train"] * count + ["validation", "test"]:
        yield split, rng.integers(0, 256, (500, 64, 64, 3), dtype=np.uint8), rng.integers(0, 2, 500)

def anonymous():
    with open("/proc/self/smaps_rollup") as lines:  # MiB that are no pages of a file
        return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) // 1024

batches.IN_MEMORY = 4 * 2**20
data_dir = Path(sys.argv[1])
cache.write(data_dir / "decoded" / "chance", {"source": "chance", "classes": ["a", "b"]}, made(int(sys.argv[2])))
dataset = load("chance", data_dir)
checks.statistics(dataset)
highest = 0
pipelines = (
    batches.TrainingBatches(dataset.train, TrainConfig(shift=2)).dataset, batches.evaluation_batches(dataset.train)
)
for pipeline in pipelines:
    for step, (images, _) in enumerate(pipeline):
        if step % 10 == 0:
            highest = max(highest, anonymous())
print(highest)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells anonymous memory")
def test_memory_stays_flat_on_a_set_larger_than_what_is_held(tmp_path: Path) -> None:
    """Sets of 29 and 293 MiB, inspected, trained on and judged where 4 MiB are held: their peaks hardly differ."""
    peaks = []
    for count in (4, 49):
        command = [sys.executable, "-c", STREAMING, str(tmp_path / str(count)), str(count)]
        # With many cores, the arenas of many threads would be most of what is measured.
        environ = os.environ | {"MALLOC_ARENA_MAX": "2", "TF_NUM_INTRAOP_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 60, peaks  # MiB


def test_a_staged_set_that_another_process_finishes_meanwhile_is_no_error(
    made: list[tuple[str, np.ndarray, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda folder, _: [folder / f"{cache.STAGED}gone"])
    assert cache.write(tmp_path / "set", {"source": "chance", "classes": ["a", "b"]}, made).classes == ("a", "b")
