"""TensorFlow Datasets' sets by name: what the builder's info says is what is trained on."""

import gzip
import io
import re
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.conftest import ROOT
from trainer.data import checks
from trainer.data.dataset import DataError
from trainer.data.load import load

pytestmark = pytest.mark.tensorflow

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


def test_a_damaged_decoded_copy_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sha256 = load("made_plain", tmp_path).sha256
    (tmp_path / "decoded" / "made_plain" / "train.labels.npy").write_bytes(b"")
    assert load("made_plain", tmp_path).sha256 == sha256
    assert "decoding again" in capsys.readouterr().out


class MadeSorted(_Made):
    """Training images alone, stored sorted by class."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=self.SHAPE), "label": tfds.features.ClassLabel(names=["a", "b"])}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, _: object) -> dict[str, Iterator]:
        return {"train": self._generate_examples(50)}

    def _generate_examples(self, count: int) -> Iterator:
        for number, (_, example) in enumerate(super()._generate_examples(count)):
            yield number, {**example, "label": 2 * number // count}


def test_a_set_sorted_by_class_has_every_class_in_every_split(tmp_path: Path) -> None:
    dataset = load("made_sorted", tmp_path)
    shares = [np.bincount(split.labels).tolist() for split in dataset.splits.values()]
    assert shares == [[16, 16], [4, 4], [5, 5]]
    pixels = {image.tobytes() for split in dataset.splits.values() for image in np.asarray(split.images)}
    assert len(pixels) == 50


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def emnist_letters(builder: tfds.core.DatasetBuilder, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Five training images and two test images of each letter, lit in their first row, as EMNIST's files hold them."""
    files = {}
    for split, count in (("train", 5 * 26), ("test", 2 * 26)):
        patch.setattr(builder.builder_config, f"{split}_examples", count)
        images = CHANCE.integers(0, 200, (count, 28, 28), dtype=np.uint8)
        images[:, :, 0] = 255
        labels = 1 + np.arange(count, dtype=np.uint8) % 26
        for kind, values in (("images", images), ("labels", labels)):
            header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            name = f"gzip/emnist-letters-{split}-{kind}-idx{values.ndim}-ubyte.gz"
            files[name] = gzip.compress(header + values.tobytes())
    return zipped(folder / "gzip.zip", files)


def cifar10(_: tfds.core.DatasetBuilder, folder: Path, __: pytest.MonkeyPatch) -> Path:
    def batch() -> bytes:
        return b"".join(bytes([label]) + CHANCE.bytes(3072) for label in range(10))

    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {f"cifar-10-batches-bin/{name}": batch() for name in names}
    files["cifar-10-batches-bin/batches.meta.txt"] = "\n".join(["airplane", *"bcdefghij"]).encode()
    return tarred(folder / "cifar-10-binary.tar.gz", files)


MADE = {"cifar10": cifar10, "emnist/letters": emnist_letters}


def documented() -> set[str]:
    """The sets of TensorFlow Datasets that README and docs name as examples of --dataset."""
    pages = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    table = pages.partition("| `--dataset` |")[2].partition("\n\n")[0]
    rows = [cell for row in re.findall(r"^\| (`[^|]*)\|", table, re.MULTILINE) for cell in re.findall("`(.+?)`", row)]
    return {name for name in (*rows, *re.findall(r"--dataset ([\w/:.-]+)", pages)) if ":" not in name}


@pytest.fixture
def prepared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a documented set, prepared by TFDS's own builder from a made download."""
    builder = tfds.builder(request.param, data_dir=tmp_path / "data")
    (tmp_path / "made").mkdir()
    made = MADE[request.param](builder, tmp_path / "made", monkeypatch)
    (url,) = (url for url in builder.url_infos if url.endswith(made.name))
    monkeypatch.setitem(builder.url_infos, url, tfds.core.download.checksums.compute_url_info(made))
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "made")
    builder.download_and_prepare(download_dir=tmp_path / "downloads", download_config=config)
    return tmp_path / "data"


def test_every_set_that_the_documents_name_is_made_here() -> None:
    assert documented() == set(MADE)


@pytest.mark.parametrize(("prepared", "name"), [(name, name) for name in MADE], indirect=["prepared"])
def test_the_sets_that_the_documents_name_can_be_trained_on(prepared: Path, name: str) -> None:
    assert checks.inspect(load(name, prepared)).anomalies == ()


@pytest.mark.parametrize("prepared", ["emnist/letters"], indirect=True)
def test_emnist_s_letters_are_upright_and_called_by_their_names(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load("emnist/letters", prepared)
    assert "".join(dataset.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert sorted(set(dataset.test.labels.tolist())) == list(range(26))
    for split in dataset.splits.values():
        assert (np.asarray(split.images)[:, 0] == 255).all()
    assert "because no image is of them: the classes unused of " in capsys.readouterr().out


def test_emnist_s_own_files_are_read_as_tfds_s_set_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = tfds.builder("emnist/letters", data_dir=tmp_path / "data")
    shutil.unpack_archive(emnist_letters(builder, tmp_path, monkeypatch), tmp_path)
    dataset = load(f"idx:{tmp_path / 'gzip'}", tmp_path)
    assert "".join(dataset.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert (dataset.test.images[:, 0] == 255).all()


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
