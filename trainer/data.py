"""Data sets by name: arrays of raw pixels and labels, split into training, validation and test images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer import idx
from trainer.idx import DataError

# Four fifths train, the last fifth validates: the paper's 48,000 and 12,000 of Fashion-MNIST's 60,000.
TRAIN_SHARE = 0.8

Arrays = Mapping[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Split:
    """Images of one split: `images` uint8 (n, height, width, channels), `labels` int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Split:
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class ImageDataset:
    """A data set ready to train on.

    Attributes:
        name: its short name, which is also the name of the model it makes.
        source: where it came from, in words.
        classes: the class names; a label is an index into them.
        sha256: hash of all images and labels.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sha256: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def load(name: str, data_dir: Path) -> ImageDataset:
    """Loads the data set `fashion_mnist`, or `idx:PATH` for four IDX files in a folder.

    Args:
        name: the data set.
        data_dir: where prepared data is kept; made if it is not there.

    Raises:
        DataError: unknown, missing or damaged; the message says how to mend it.
    """
    kind, _, rest = name.partition(":")
    if kind == "idx":
        return _idx_folder(Path(rest))
    if name == "fashion_mnist":
        from trainer import catalog

        decoded = catalog.decoded("fashion_mnist", data_dir)
        return _dataset(name, decoded.source, decoded.classes, decoded.arrays)
    raise DataError(f"`dataset` must be fashion_mnist or idx:PATH. Received: {name}.")


def _idx_folder(folder: Path) -> ImageDataset:
    """Four IDX files in MNIST's layout; class names from `classes.txt`, one a line, where there is one."""
    arrays = {}
    for part in idx.FILES:
        path = idx.find(folder, part)
        if path is None:
            raise DataError(f"{folder / idx.FILES[part]}.gz: expected an IDX file there (or one without .gz).")
        arrays[part] = idx.read(path, 3 if part[1] == "images" else 1)
    for split in ("train", "test"):
        images, labels = len(arrays[split, "images"]), len(arrays[split, "labels"])
        if images != labels or not images:
            raise DataError(
                f"{folder}: expected a label for each image, found {images} {split} images, {labels} labels."
            )
    highest = max(int(arrays[split, "labels"].max()) for split in ("train", "test"))
    names = folder / "classes.txt"
    classes = names.read_text().splitlines() if names.is_file() else [str(label) for label in range(highest + 1)]
    if highest >= len(classes):
        raise DataError(f"{names}: expected at least {highest + 1} class names, found {len(classes)}.")
    return _dataset(folder.resolve().name, f"IDX files in {folder}", tuple(classes), arrays)


def _dataset(name: str, source: str, classes: tuple[str, ...], arrays: Arrays) -> ImageDataset:
    digest = hashlib.sha256("".join(idx.content_hash(arrays[part]) for part in idx.FILES).encode())
    train = _split(arrays, "train")
    cut = round(len(train) * TRAIN_SHARE)
    return ImageDataset(
        name, source, classes, train[:cut], train[cut:], _split(arrays, "test"), sha256=digest.hexdigest()
    )


def _split(arrays: Arrays, name: str) -> Split:
    images = arrays[name, "images"]
    return Split(images.reshape(*images.shape[:3], -1), arrays[name, "labels"].astype(np.int64))
