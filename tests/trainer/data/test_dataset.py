"""The hash of a data set's images and labels is that of the files that hold them, however they are split."""

import gzip
import hashlib
from collections.abc import Callable

import numpy as np

from tests.conftest import SAMPLE
from trainer.data import idx
from trainer.data.dataset import Decoded, Split, content_hash

FILES = {name: SAMPLE / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1")}


def test_the_content_hash_is_the_hash_of_the_decompressed_file() -> None:
    for path, dimensions in zip(FILES.values(), (3, 1), strict=True):
        expected, values = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest(), idx.read(path, dimensions)
        assert content_hash(values) == content_hash(values[:50], values[50:50], values[50:]) == expected
        assert content_hash(values[..., None] if dimensions == 3 else values.astype(np.int64)) == expected


def test_large_images_are_hashed_without_a_copy(
    sparse_images: Callable[..., np.ndarray], peak: Callable[..., int]
) -> None:
    images = sparse_images(300, 512, 512, 3)  # 236 MB
    assert peak(lambda: content_hash(images)) < 1e6


def test_the_hash_is_the_same_before_and_after_the_last_images_are_cut_off_to_validate() -> None:
    images, labels = idx.read(FILES["images-idx3"], 3)[..., None], idx.read(FILES["labels-idx1"], 1).astype(np.int64)
    whole = Split(images, labels)
    for classes in (10, 300):
        names = tuple(map(str, range(classes)))
        uncut = Decoded("here", names, {"train": whole, "test": whole[:7]})
        cut = Decoded("there", names, {"train": whole[:90], "validation": whole[90:], "test": whole[:7]})
        assert cut.sha256 == uncut.sha256
        assert cut.sha256 != Decoded("here", names, {"train": whole[1:], "test": whole[:7]}).sha256
