"""IDX folders and downloads that are no data sets are refused before anything is trained."""

import functools
import gzip
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer.data import checks, tfds
from trainer.data.checks import Schema
from trainer.data.dataset import DataError
from trainer.data.idx import FILES
from trainer.data.load import load, model_name
from trainer.models.cnns import check_size

pytestmark = pytest.mark.tensorflow


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """IDX files whose test images are the training images."""
    folder.mkdir()
    for (_, kind), name in FILES.items():
        values = images if kind == "images" else labels
        header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
        (folder / name).write_bytes(header + values.tobytes())


def folder_of(root: Path, train: tuple[int, ...], test: tuple[int, ...], classes: bytes = b"a\nb\n") -> Path:
    root.mkdir()
    for (split, kind), name in FILES.items():
        shape = train if split == "train" else test
        values = np.zeros(shape, np.uint8) if kind == "images" else np.arange(shape[0], dtype=np.uint8) % 2
        header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
        (root / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes()))
    (root / "classes.txt").write_bytes(classes)
    return root


@pytest.mark.parametrize(
    ("train", "test", "classes", "reason"),
    [
        ((10, 28, 28), (4, 14, 14), b"a\nb\n", "training and test images of one size, found"),
        ((2, 28, 28), (2, 28, 28), b"a\nb\n", "found 2, 0 and 2 of shape"),
        ((10, 0, 0), (4, 0, 0), b"a\nb\n", "found 8, 2 and 4 of shape"),
        ((10, 28, 28), (4, 28, 28), b"a\na\n", "class names that differ, found a repeated"),
        ((1, 28, 28), (1, 28, 28), b"a\nb\n", "images of at least two classes, found a"),
        ((10, 28, 28), (4, 28, 28), b"a\n \nb\n", r"classes\.txt: expected a class name in each line; line 2 is blank"),
        ((10, 28, 28), (4, 28, 28), b"a\n \n", r"classes\.txt: expected at least 2 class names, found 1"),
        ((10, 28, 28), (4, 28, 28), "caf\u00e9\ncafe\u0301\n".encode(), "class names that differ, found café repeated"),
        ((10, 28, 28), (4, 28, 28), b"caf\xe9\nb\n", r"classes\.txt: expected class names in UTF-8"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(
    train: tuple[int, ...], test: tuple[int, ...], classes: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=reason):
        load(f"idx:{folder_of(tmp_path / 'set', train, test, classes)}", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("fashion_mnist", "fashion_mnist"),
        ("emnist/letters", "emnist_letters"),
        ("cifar10:3.0.2", "cifar10"),
        ("emnist/letters:3.1.0", "emnist_letters"),
        ("folder:/data/花", "花"),
        ("folder:/data/собаки/", "собаки"),
        ("idx:/data/our own set", "our_own_set"),
    ],
)
def test_a_model_is_called_as_its_data_set_or_folder(dataset: str, name: str) -> None:
    assert model_name(dataset) == name
    assert model_name(dataset, "pets") == "pets"


def test_the_folder_that_one_is_in_and_the_home_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "pets", (10, 8, 8), (4, 8, 8))
    monkeypatch.chdir(tmp_path / "pets")
    assert load("idx:.", tmp_path).name == "pets"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("idx:~/pets", tmp_path).name == "pets"


def test_a_name_that_no_model_may_have_is_refused() -> None:
    with pytest.raises(DataError, match=r"folder:/: expected a name to call the model by.* Choose one with --name"):
        model_name("folder:/")
    with pytest.raises(DataError, match=r"found '\N{DOG}'"):
        model_name("folder:/data/\N{DOG}")
    with pytest.raises(DataError, match=r"`name` must be of letters and digits .*Received: '\.\./pets'"):
        model_name("folder:/data/pets", "../pets")


def test_a_folder_called_as_a_known_set_is_not_taken_for_it(tmp_path: Path) -> None:
    dataset = load(f"idx:{folder_of(tmp_path / 'fashion_mnist', (10, 8, 8), (4, 8, 8))}", tmp_path)
    assert (dataset.name, dataset.known) == ("fashion_mnist", "")
    assert checks.schema_for(dataset) == Schema()


def test_a_byte_order_mark_and_a_blank_last_line_are_no_part_of_the_class_names(tmp_path: Path) -> None:
    with_mark = "\ufeff花\r\n犬\r\n\r\n".encode()
    assert load(f"idx:{folder_of(tmp_path / 'set', (10, 8, 8), (4, 8, 8), with_mark)}", tmp_path).classes == (
        "花",
        "犬",
    )


def test_a_set_sorted_by_class_trains_and_validates_on_every_class(tmp_path: Path) -> None:
    images, labels = np.zeros((100, 8, 8), np.uint8), np.repeat(np.arange(4, dtype=np.uint8), 25)
    images[:, 0, 0] = np.arange(100)
    write(tmp_path / "set", images, labels)
    dataset = load(f"idx:{tmp_path / 'set'}", tmp_path)
    assert [np.bincount(split.labels).tolist() for split in dataset.splits.values()] == [[20] * 4, [5] * 4, [25] * 4]
    places = [split.images[:, 0, 0, 0].tolist() for split in (dataset.train, dataset.validation)]
    assert sorted(places[0] + places[1]) == list(range(100))

    write(tmp_path / "grown", np.concatenate([images, images[:10]]), np.concatenate([labels, labels[:10]]))
    grown = load(f"idx:{tmp_path / 'grown'}", tmp_path)
    assert grown.validation.images[:20, 0, 0, 0].tolist() == places[1]


def test_classes_that_no_image_has_are_left_out_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "set", (10, 8, 8), (4, 8, 8), b"a\nb\nc\nd\n")
    labels = folder / f"{FILES['train', 'labels']}.gz"
    content = bytearray(gzip.decompress(labels.read_bytes()))
    content[8:] = bytes(3 * label for label in content[8:])
    labels.write_bytes(gzip.compress(bytes(content)))
    dataset = load(f"idx:{folder}", tmp_path)
    assert dataset.classes == ("a", "b", "d")
    assert sorted(set(dataset.train.labels.tolist())) == [0, 2]
    assert f"because no image is of them: the classes c of IDX files in {folder}." in capsys.readouterr().out


@pytest.mark.parametrize(
    "names",
    [
        "{split}-images-idx3-ubyte",
        "{split}-images.idx3-ubyte",
        "emnist-digits-{split}-images-idx3-ubyte.gz",
        "{split}-images-idx3-ubyte/{split}-images-idx3-ubyte",
    ],
)
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_files_are_found_as_mnist_emnist_and_kaggle_call_them(names: str, test: str, tmp_path: Path) -> None:
    source, folder = folder_of(tmp_path / "source", (10, 8, 8), (4, 8, 8)), tmp_path / "set"
    for (split, kind), name in FILES.items():
        called = names.format(split=test if split == "test" else split)
        path = folder / (called if kind == "images" else called.replace("images", "labels").replace("idx3", "idx1"))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (source / f"{name}.gz").read_bytes()
        path.write_bytes(content if path.suffix == ".gz" else gzip.decompress(content))
    assert load(f"idx:{folder}", tmp_path).shape == (8, 8, 1)


def test_what_lies_where_idx_files_were_expected_is_listed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", (10, 8, 8), (4, 8, 8))
    (folder / f"{FILES['test', 'labels']}.gz").rename(folder / "labels.bin")
    with pytest.raises(
        DataError, match=r"as EMNIST and Kaggle call them.* found classes\.txt, labels\.bin, t10k-images"
    ):
        load(f"idx:{folder}", tmp_path)
    for split, kind in FILES:
        name = f"-{split}-{kind}-idx{3 if kind == 'images' else 1}-ubyte.gz"
        for a_set in ("emnist-letters", "emnist-digits"):
            (tmp_path / f"{a_set}{name}").write_bytes(b"")
    with pytest.raises(DataError, match=r"expected the four IDX files of one set, .* found emnist-digits-test-images"):
        load(f"idx:{tmp_path}", tmp_path)


def test_images_too_small_for_a_model_are_refused() -> None:
    check_size("deep", (8, 8, 1))
    with pytest.raises(ValueError, match=r"deep needs images of at least 8 pixels a side\. Received: 7x9"):
        check_size("deep", (7, 9, 1))


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[str]:
    """A host that answers every question with its own page, as a network does that wants a login first."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "train.gz").write_text("Please log in.")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "page")
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/train.gz"
        server.shutdown()


def test_a_download_of_the_wrong_content_is_refused_and_leaves_nothing(
    portal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = tfds.builder_of("kmnist", tmp_path / "data")
    known = next(iter(builder.url_infos.values()))
    builder.url_infos.clear()
    builder.url_infos[portal] = known
    builder._split_generators = lambda manager: manager.download_and_extract({"train": portal})
    monkeypatch.setattr(tfds, "builder_of", lambda *_: builder)
    with pytest.raises(DataError, match=rf"NonMatchingChecksumError: .*{known.checksum}"):
        tfds.load("kmnist", tmp_path / "data", 0)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
