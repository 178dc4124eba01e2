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

from trainer import download
from trainer.data import load
from trainer.idx import FILES, DataError
from trainer.models import check_size


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
        ((10, 28, 28), (4, 28, 28), b"a\na\n", "class names that differ, found a, a"),
        ((10, 28, 28), (4, 28, 28), b"a\n \n", "class names that differ"),
        ((10, 28, 28), (4, 28, 28), b"caf\xe9\nb\n", r"classes\.txt: expected class names in UTF-8"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(
    train: tuple[int, ...], test: tuple[int, ...], classes: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=reason):
        load(f"idx:{folder_of(tmp_path / 'set', train, test, classes)}", tmp_path)


def test_a_folder_s_name_becomes_one_that_a_model_may_have(tmp_path: Path) -> None:
    assert load(f"idx:{folder_of(tmp_path / 'our own set', (10, 8, 8), (4, 8, 8))}", tmp_path).name == "our_own_set"


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


def test_a_download_of_the_wrong_content_is_refused_and_leaves_nothing(portal: str, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder("kmnist", data_dir=tmp_path / "data")
    known = next(iter(builder.url_infos.values()))
    builder.url_infos.clear()
    builder.url_infos[portal] = known
    builder._split_generators = lambda manager: manager.download_and_extract({"train": portal})
    with pytest.raises(DataError, match=rf"NonMatchingChecksumError: .*{known.checksum}"):
        download.prepare(builder)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
