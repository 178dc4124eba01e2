"""IDX files are read, or refused with the file's name and a reason."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SAMPLE
from trainer.data import idx
from trainer.data.dataset import DataError

LABELS = SAMPLE / "t10k-labels-idx1-ubyte.gz"


def test_images_and_labels_are_read() -> None:
    assert idx.read(SAMPLE / "t10k-images-idx3-ubyte.gz", 3).shape == (200, 28, 28)
    labels = idx.read(LABELS, 1)
    assert labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [20] * 10


@pytest.mark.parametrize("name", ["t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"])
def test_an_uncompressed_file_reads_the_same_whatever_its_name_says(name: str, tmp_path: Path) -> None:
    plain = tmp_path / name
    plain.write_bytes(gzip.decompress(LABELS.read_bytes()))
    assert (idx.read(plain, 1) == idx.read(LABELS, 1)).all()


@pytest.mark.parametrize("keep", [0, 3, 12, 60])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "labels.gz"
    cut.write_bytes(LABELS.read_bytes()[:keep])
    with pytest.raises(DataError, match=str(cut)):
        idx.read(cut, 1)


def test_a_file_that_is_shorter_than_its_header_promises_is_refused(tmp_path: Path) -> None:
    cut = tmp_path / "labels"
    cut.write_bytes(gzip.decompress(LABELS.read_bytes())[:-1])
    with pytest.raises(DataError, match=r"promises \(200,\) values, 199 follow"):
        idx.read(cut, 1)


def test_labels_where_images_are_expected_are_refused() -> None:
    with pytest.raises(DataError, match="expected an IDX header 00000803"):
        idx.read(LABELS, 3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        idx.read(tmp_path / "none", 1)
