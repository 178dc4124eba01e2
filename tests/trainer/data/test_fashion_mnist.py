"""Fashion-MNIST is taken for what it is only if its content is the published one, and is cut as the paper cut it.

The images here are made, 70,000 that differ, and their hashes stand in the place of the published ones.
"""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from trainer.data import cache, fashion_mnist, schema
from trainer.data.dataset import DataError, Decoded, Split
from trainer.data.fashion_mnist import CLASSES
from trainer.data.idx import FILES
from trainer.data.load import load
from trainer.release.thresholds import thresholds_for


def split_of(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that show their number, and labels sorted by no class."""
    numbers = np.arange(first, first + count)
    images = np.zeros((count, 28, 28, 1), np.uint8)
    images[:, 0, :3, 0] = np.stack([numbers >> 16, numbers >> 8, numbers], axis=1) & 255
    images[:, 1, 0] = 255
    return images, numbers % 10


def number(image: np.ndarray) -> int:
    high, middle, low = (int(value) for value in image[0, :3, 0])
    return high << 16 | middle << 8 | low


def content(values: np.ndarray) -> bytes:
    """What an IDX file of these values holds."""
    values = values[..., 0] if values.ndim == 4 else values.astype(np.uint8)
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


SPLITS = {"train": split_of(0, 60_000), "test": split_of(60_000, 10_000)}


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made images are the published ones."""
    for split, parts in SPLITS.items():
        for kind, values in zip(("images", "labels"), parts, strict=True):
            sha256 = hashlib.sha256(content(values)).hexdigest()
            monkeypatch.setitem(fashion_mnist.SHA256, (split, kind), sha256)


def keep(data_dir: Path, splits: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """A data directory with a decoded copy of the splits."""
    batches = fashion_mnist.cut((name, *pair) for name, pair in splits.items())
    cache.write(data_dir / "decoded" / "fashion_mnist", {"source": "made", "classes": CLASSES}, batches)
    return data_dir


def test_it_is_cut_into_the_papers_48000_12000_and_10000_in_its_own_order(tmp_path: Path) -> None:
    dataset = load("fashion_mnist", keep(tmp_path, SPLITS))
    sizes = [len(split) for split in dataset.splits.values()]
    assert sizes == [48_000, 12_000, 10_000]
    ends = [(number(split.images[0]), number(split.images[-1])) for split in dataset.splits.values()]
    assert ends == [(0, 47_999), (48_000, 59_999), (60_000, 69_999)]


def test_it_is_as_its_schema_says_and_has_its_own_thresholds(tmp_path: Path) -> None:
    dataset = load("fashion_mnist", keep(tmp_path, SPLITS), name="clothes")
    assert schema.schema_for(dataset).classes == CLASSES
    assert schema.inspect(dataset).anomalies == ()
    assert thresholds_for(dataset.known).accuracy_floor == 0.8


@pytest.mark.parametrize(
    ("names", "classes", "known"),
    [
        (None, CLASSES, "fashion_mnist"),
        (CLASSES, CLASSES, "fashion_mnist"),
        (tuple("abcdefghij"), tuple("abcdefghij"), ""),  # its schema has other names
    ],
)
def test_its_own_files_are_known_by_their_content_whatever_their_folder_is_called(
    names: tuple[str, ...] | None, classes: tuple[str, ...], known: str, tmp_path: Path
) -> None:
    for (split, kind), name in FILES.items():
        (tmp_path / name).write_bytes(content(SPLITS[split][kind == "labels"]))
    if names:
        (tmp_path / "classes.txt").write_text("\n".join(names))
    dataset = load(f"idx:{tmp_path}", tmp_path, name="clothes")
    assert (dataset.classes, dataset.known) == (classes, known)
    assert schema.inspect(dataset).anomalies == ()
    assert (len(dataset.train), number(dataset.validation.images[0])) == (48_000, 48_000)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_other_images_or_labels_by_its_name_are_refused(split: str, kind: str, tmp_path: Path) -> None:
    changed = {name: (images.copy(), labels.copy()) for name, (images, labels) in SPLITS.items()}
    changed[split][kind == "labels"][7] = 3
    found = Decoded("a mirror", CLASSES, {name: Split(*pair) for name, pair in changed.items()})
    expected = rf"a mirror does not hold Fashion-MNIST: its {split} {kind} have SHA-256 [0-9a-f]{{64}}, expected"
    with pytest.raises(DataError, match=expected):
        fashion_mnist.check(found, "a mirror")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["{}.gz", "{}"])
def test_files_in_a_folder_become_a_set_that_tfds_reads_in_its_own_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    (tmp_path / "files").mkdir()
    for (split, kind), usual in FILES.items():
        called = usual.replace("-idx", ".idx") if name == "{}" else usual  # as on Kaggle
        path = tmp_path / "files" / name.format(called)
        values = content(SPLITS[split][kind == "labels"])
        path.write_bytes(gzip.compress(values, 1) if path.suffix == ".gz" else values)
    monkeypatch.setenv(fashion_mnist.FOLDER_VARIABLE, str(tmp_path / "files"))
    dataset = load("fashion_mnist", tmp_path / "data")
    np.testing.assert_array_equal(np.concatenate([dataset.train.images, dataset.validation.images]), SPLITS["train"][0])
    np.testing.assert_array_equal(dataset.test.labels, SPLITS["test"][1])
    builder = tfds.builder("fashion_mnist", data_dir=tmp_path / "data")
    assert len(builder.as_dataset(split="test")) == 10_000
