"""Fashion-MNIST is taken for what it is only if its content is the published one, and is cut as the paper cut it.

The images here are made, 70,000 that differ, and their hashes stand in the place of the published ones.
"""

import functools
import gzip
import hashlib
import http.server
import shutil
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from trainer.data import checks, fashion_mnist
from trainer.data.dataset import DataError, ImageDataset
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


@functools.cache
def compressed(part: tuple[str, str]) -> bytes:
    split, kind = part
    return gzip.compress(content(SPLITS[split][kind == "labels"]), 1)


SPLITS = {"train": split_of(0, 60_000), "test": split_of(60_000, 10_000)}


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made images are the published ones."""
    for split, parts in SPLITS.items():
        for kind, values in zip(("images", "labels"), parts, strict=True):
            sha256 = hashlib.sha256(content(values)).hexdigest()
            monkeypatch.setitem(fashion_mnist.SHA256, (split, kind), sha256)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the four files, compressed, that `FASHION_MNIST_DIR` names."""
    folder = tmp_path / "files"
    folder.mkdir()
    for part, name in FILES.items():
        (folder / f"{name}.gz").write_bytes(compressed(part))
    monkeypatch.setenv(fashion_mnist.FOLDER_VARIABLE, str(folder))
    return folder


def is_the_made_set(dataset: ImageDataset) -> bool:
    """Whether a data set is all of the made images in the order of their files, cut as the paper cut them."""
    (images, labels), test = SPLITS["train"], SPLITS["test"]
    expected = {"train": (images[:48_000], labels[:48_000]), "validation": (images[48_000:], labels[48_000:])}
    return all(
        np.array_equal(dataset.splits[name].images, images) and np.array_equal(dataset.splits[name].labels, labels)
        for name, (images, labels) in {**expected, "test": test}.items()
    )


def test_it_is_cut_into_the_papers_48000_12000_and_10000_in_the_order_of_its_files(files: Path, tmp_path: Path) -> None:
    dataset = load("fashion_mnist", tmp_path / "data")
    assert [len(split) for split in dataset.splits.values()] == [48_000, 12_000, 10_000]
    assert is_the_made_set(dataset)
    assert (dataset.source, dataset.classes, dataset.known) == (str(files), CLASSES, "fashion_mnist")


def test_it_is_fetched_once_and_again_where_the_kept_copy_is_damaged(files: Path, tmp_path: Path) -> None:
    load("fashion_mnist", tmp_path / "data")
    files.rename(tmp_path / "elsewhere")
    assert is_the_made_set(load("fashion_mnist", tmp_path / "data"))
    pixels = tmp_path / "data" / "decoded" / "fashion_mnist" / "train.images"
    pixels.write_bytes(b"\1" + pixels.read_bytes()[1:])
    with pytest.raises(DataError, match=r"FASHION_MNIST_DIR: .*expected a folder with four IDX files"):
        load("fashion_mnist", tmp_path / "data")
    (tmp_path / "elsewhere").rename(files)
    assert is_the_made_set(load("fashion_mnist", tmp_path / "data"))


def test_it_may_be_of_another_size(files: Path, tmp_path: Path) -> None:
    dataset = load("fashion_mnist:3.0.1", tmp_path / "data", image_size=14)
    assert (dataset.shape, len(dataset.validation)) == ((14, 14, 1), 12_000)
    with pytest.raises(DataError, match=r"Received: fashion_mnist:9\.9\.9"):
        load("fashion_mnist:9.9.9", tmp_path / "data")


@pytest.mark.usefixtures("files")
def test_it_is_as_its_schema_says_and_has_its_own_thresholds(tmp_path: Path) -> None:
    dataset = load("fashion_mnist", tmp_path / "data", name="clothes")
    assert checks.schema_for(dataset).classes == CLASSES
    assert checks.inspect(dataset).anomalies == ()
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
    assert checks.inspect(dataset).anomalies == ()
    assert (len(dataset.train), number(dataset.validation.images[0])) == (48_000, 48_000)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_other_images_or_labels_by_its_name_are_refused(split: str, kind: str, tmp_path: Path) -> None:
    changed = {each: SPLITS[each[0]][each[1] == "labels"].copy() for each in FILES}
    changed[split, kind][7] = 3
    expected = rf"a mirror does not hold Fashion-MNIST: its {split} {kind} have SHA-256 [0-9a-f]{{64}}, expected"
    with pytest.raises(DataError, match=expected):
        fashion_mnist.check(changed, "a mirror")


@pytest.fixture
def builder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """TFDS's builder, which knows the made files as those to download from a server of this machine."""
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder("fashion_mnist", data_dir=tmp_path / "data")
    known = {info.filename: url for url, info in builder.url_infos.items()}
    for name, url in known.items():
        monkeypatch.setitem(builder.url_infos, url, tfds.core.download.checksums.compute_url_info(files / name))
    return builder


@pytest.mark.slow
@pytest.mark.tensorflow
def test_what_tfds_prepared_is_read_in_the_order_of_the_files(builder: object, files: Path, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    manual = tfds.download.DownloadConfig(manual_dir=files)
    builder.download_and_prepare(download_dir=tmp_path / "downloads", download_config=manual)
    shutil.rmtree(files)
    dataset = load("fashion_mnist", tmp_path / "data")
    assert is_the_made_set(dataset)
    assert dataset.source.startswith("TensorFlow Datasets in ")


@pytest.mark.tensorflow
def test_what_tfds_downloads_is_read_without_being_prepared(
    builder: object, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=files)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        infos = {f"http://127.0.0.1:{server.server_port}/{info.filename}": info for info in builder.url_infos.values()}
        monkeypatch.setattr(type(builder), "url_infos", infos)
        monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "none")
        monkeypatch.delenv(fashion_mnist.FOLDER_VARIABLE)
        dataset = load("fashion_mnist", tmp_path / "data")
        server.shutdown()
    assert is_the_made_set(dataset)
    assert dataset.source == "TensorFlow Datasets' download"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["decoded"]


def test_where_no_source_is_there_all_that_were_tried_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder("fashion_mnist", data_dir=tmp_path / "data")
    monkeypatch.setattr(type(builder), "url_infos", {"http://127.0.0.1:1/train.gz": None})
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.delenv(fashion_mnist.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # without apt-get
    with pytest.raises(DataError, match="Fashion-MNIST is not on this machine") as caught:
        load("fashion_mnist", tmp_path / "data")
    tried = [line for line in str(caught.value).splitlines() if line.startswith("  - ")]
    for line, expected in zip(tried, ("nothing is prepared", "IDX files", "download", "Debian's package"), strict=True):
        assert expected in line
