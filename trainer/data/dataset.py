"""A data set: raw pixels and labels, split into training, validation and test images; and what makes data unusable."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from registry.names import normalized

LISTED = 10  # names that a message spells out
# One in this many images of a class goes to the validation split, and one to the test split, where a set has none.
ONE_IN = 5

# Images of one split, uint8 (n, height, width, channels), and their labels (n,), after the name of the split.
Batches = Iterable[tuple[str, np.ndarray, np.ndarray]]


class DataError(ValueError):
    """Data that cannot be used; the message names the file, what was expected and what was found."""


def listed(names: Sequence[str]) -> str:
    """The names for a message: the first of them, and how many more there are."""
    rest = len(names) - LISTED
    return ", ".join([*names[:LISTED], *([f"{rest:,} more"] if rest > 0 else [])])


def class_names(path: Path) -> tuple[str, ...]:
    """The class names in a text file, one a line.

    Raises:
        DataError: it is not in UTF-8, or has a blank line before its last name.
        OSError: it cannot be read.
    """
    try:
        text = normalized(path.read_text("utf-8-sig"))  # Windows begins a text file with a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected class names in UTF-8, one a line ({error}).") from error
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if "" in names:
        raise DataError(f"{path}: expected a class name in each line; line {names.index('') + 1} is blank.")
    return names


@dataclass(frozen=True)
class Split:
    """Images of one split: `images` uint8 (n, height, width, channels), perhaps mapped from a file; `labels` (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> Split:
        """The images of a slice, or a copy of those for which an array of bool is true."""
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class Decoded:
    """A data set as decoded.

    Attributes:
        source: where it came from, for people.
        classes: the class names; a label is an index into them.
        splits: `train`, `test` and, unless it is still to be cut from the training images, `validation`.
        left_out: a sentence for each file, or each kind of file, that could not be used.
        test_by_seed: whether a seed decided which images test.
    """

    source: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    left_out: tuple[str, ...] = ()
    test_by_seed: bool = False

    @cached_property
    def sha256(self) -> str:
        """Hash of the hashes of the IDX files that would hold it; validation images follow the training images."""
        label = np.uint8 if len(self.classes) <= 256 else np.uint16
        training = [self.splits[name] for name in ("train", "validation") if name in self.splits]
        hashes = [
            content_hash(*values)
            for splits in (training, [self.splits["test"]])
            for values in (
                [split.images for split in splits],
                [split.labels.astype(label).view(np.uint8) for split in splits],
            )
        ]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


@dataclass(frozen=True)
class ImageDataset:
    """A data set ready to train on.

    Attributes:
        name: of the model that it makes.
        source: where it came from, for people.
        classes: the class names; a label is an index into them.
        sha256: hash of all images and labels.
        left_out: a sentence for each file, or each kind of file, that could not be used.
        schema: a file with the folder's own schema, where there is one.
        known: the name of the public set that it is, such as `fashion_mnist`; empty for a user's own images.
        test_by_seed: whether a seed decided which images test.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sha256: str
    left_out: tuple[str, ...] = ()
    schema: Path | None = None
    known: str = ""
    test_by_seed: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def cut(batches: Batches, split: str) -> Batches:
    """The same images, of which one in `ONE_IN` of each class moves from the training images to another split.

    Images are chosen by their place among the images of their class, because some sets are sorted by class, and so that
    images that are appended later do not move others to another split.
    """
    seen: Counter[int] = Counter()
    for name, images, labels in batches:
        if name != "train":
            yield name, images, labels
            continue
        place = np.zeros(len(labels), np.int64)
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
            place[labels == label] = np.arange(seen[label], seen[label] + count)
            seen[label] += count
        chosen = place % ONE_IN == 1  # the second of each, so that of two images of a class one is chosen
        yield name, images[~chosen], labels[~chosen]
        yield split, images[chosen], labels[chosen]


def content_hash(*arrays: np.ndarray) -> str:
    """SHA-256 of the IDX file that would hold these uint8 values; of images of one channel, without that dimension."""
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    shape = shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape
    digest = hashlib.sha256(bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape))
    for values in arrays:
        digest.update(np.ascontiguousarray(values, np.uint8).data)
    return digest.hexdigest()
