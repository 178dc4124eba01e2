"""The full data set, where it is prepared, is the published one and is cut as the paper cut it."""

import numpy as np
import pytest

from tests.conftest import ROOT
from trainer import fashion_mnist, idx
from trainer.data import ImageDataset, load
from trainer.decoded import Decoded
from trainer.idx import DataError

DATA = ROOT / "artifacts" / "data"


@pytest.fixture(scope="module")
def full() -> ImageDataset:
    if not (DATA / "decoded" / "fashion_mnist").is_dir():
        pytest.skip("Fashion-MNIST is not prepared here (make train prepares it)")
    return load("fashion_mnist", DATA)


def test_the_content_is_the_published_one(full: ImageDataset) -> None:
    train_images = np.concatenate([full.train.images, full.validation.images])[..., 0]
    assert idx.content_hash(train_images) == fashion_mnist.SHA256["train", "images"]
    assert idx.content_hash(full.test.images[..., 0]) == fashion_mnist.SHA256["test", "images"]
    assert idx.content_hash(full.test.labels.astype(np.uint8)) == fashion_mnist.SHA256["test", "labels"]


def test_it_is_cut_into_the_papers_48000_12000_and_10000(full: ImageDataset) -> None:
    assert (len(full.train), len(full.validation), len(full.test)) == (48_000, 12_000, 10_000)
    assert full.classes[0] == "T-shirt/top"
    assert full.shape == (28, 28, 1)


def test_digits_in_the_place_of_clothes_are_refused() -> None:
    images, labels = np.zeros((10, 28, 28, 1), np.uint8), np.zeros(10, np.int64)
    digits = Decoded("a mirror", (), {"train": images, "test": images}, {"train": labels, "test": labels})
    with pytest.raises(DataError, match=r"a mirror does not hold Fashion-MNIST: its train images have SHA-256"):
        fashion_mnist.check(digits, "a mirror")
