"""TensorFlow Datasets' sets by name: what the builder's info says is what is trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from trainer import decoded
from trainer.data import load
from trainer.idx import DataError

CHANCE = np.random.default_rng(0)


class _Made(tfds.core.GeneratorBasedBuilder):
    """Images made by chance, prepared by TFDS itself, as any other set of its catalog."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE: tuple[int | None, int | None, int] = (8, 6, 3)
    SPLITS: dict[str, int] = {"train": 50, "test": 20}  # noqa: RUF012 - a builder's class attributes are its data
    pkg_dir_path = Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=self.SHAPE), "label": tfds.features.ClassLabel(names=["a", "b"])}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, _: object) -> dict[str, Iterator]:
        return {name: self._generate_examples(count) for name, count in self.SPLITS.items()}

    def _generate_examples(self, count: int) -> Iterator:
        for number in range(count):
            height, width = self.SHAPE[0] or 10 + number, self.SHAPE[1] or 12
            yield number, {"image": CHANCE.integers(0, 256, (height, width, 3), dtype=np.uint8), "label": number % 2}


class MadePlain(_Made):
    """Training and test images."""


class MadeSized(_Made):
    """Images of several sizes, training alone."""

    SHAPE = (None, None, 3)
    SPLITS = {"train": 50}  # noqa: RUF012


class MadeThree(_Made):
    """A validation split of its own."""

    SPLITS = {"train": 30, "validation": 12, "test": 10}  # noqa: RUF012


class MadeText(_Made):
    """No images."""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"text": tfds.features.Text()}))


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("made_plain", (8, 6, 3), [40, 10, 20]),
        ("made_sized", (64, 64, 3), [32, 8, 10]),
        ("made_three", (8, 6, 3), [30, 12, 10]),
    ],
)
def test_a_set_is_what_its_info_says(name: str, shape: tuple[int, int, int], sizes: list[int], tmp_path: Path) -> None:
    dataset = load(name, tmp_path)
    assert (dataset.name, dataset.shape, dataset.classes) == (name, shape, ("a", "b"))
    assert [len(split) for split in dataset.splits.values()] == sizes
    assert load(name, tmp_path).sha256 == dataset.sha256


def test_the_pixels_are_the_set_s_own(tmp_path: Path) -> None:
    dataset = load("made_plain", tmp_path)
    builder = tfds.builder("made_plain", data_dir=tmp_path)
    theirs = [image for image, _ in builder.as_dataset(split="test", as_supervised=True).as_numpy_iterator()]
    np.testing.assert_array_equal(dataset.test.images, theirs)


def test_a_large_set_stays_on_disk(tmp_path: Path) -> None:
    assert isinstance(load("made_plain", tmp_path, memory_limit=1000).train.images, decoded.ImageFile)


def test_a_damaged_decoded_copy_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sha256 = load("made_plain", tmp_path).sha256
    (tmp_path / "decoded" / "made_plain" / "train_labels.npy").write_bytes(b"")
    assert load("made_plain", tmp_path).sha256 == sha256
    assert "decoding anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("made_text", "made_text: expected a set of images with one class label each"),
        ("no_such_set", "must be a TFDS image classification set, folder:PATH or idx:PATH. Received: no_such_set"),
        ("made_plain/no_such_config", "Received: made_plain/no_such_config"),
        ("made_plain:9.9.9", "Received: made_plain:9.9.9"),
        ("not a name", "Received: not a name"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        load(name, tmp_path)
