"""A data set: raw pixels and labels, split into training, validation and test images; and what makes data unusable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.cache import Images

LISTED = 10  # names that a message spells out


class DataError(ValueError):
    """Data that cannot be used; the message names the file, what was expected and what came."""


def listed(names: Sequence[str]) -> str:
    """The names for a message: the first of them, and how many more there are."""
    rest = len(names) - LISTED
    return ", ".join([*names[:LISTED], *([f"{rest:,} more"] if rest > 0 else [])])


@dataclass(frozen=True)
class Split:
    """Images of one split: `images` uint8 (n, height, width, channels), in memory or on disk; `labels` int64 (n,)."""

    images: Images
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> Split:
        """The images of a slice, or those for which an array of bool is true."""
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class ImageDataset:
    """A data set ready to train on.

    Attributes:
        name: of the model that it makes.
        source: where it came from, in words.
        classes: the class names; a label is an index into them.
        sha256: hash of all images and labels.
        left_out: files that could not be used, in words.
        schema: a file that says what the data should be, where its folder has one.
        known: the name of the public set that it is, such as `fashion_mnist`; empty for a user's own images.
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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}
