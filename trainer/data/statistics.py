"""What a data set holds: counts, pixels and repetitions of each split, in one look at every image."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.data.cache import parts
from trainer.data.dataset import ImageDataset, Split


@dataclass(frozen=True)
class SplitStatistics:
    """What one split holds.

    Attributes:
        images: how many.
        classes: how many of each class, by its name.
        mean, deviation: of all pixels, 0..255.
        lowest, highest: pixel found.
        duplicates: images that equal an earlier one of the split, byte by byte.
    """

    images: int
    classes: dict[str, int]
    mean: float
    deviation: float
    lowest: int
    highest: int
    duplicates: int


@dataclass(frozen=True)
class Statistics:
    """What a data set holds; `shared` counts the images of the second split that are in the first too."""

    dtype: str
    shape: tuple[int, int, int]
    splits: dict[str, SplitStatistics]
    shared: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def statistics(dataset: ImageDataset) -> Statistics:
    """Looks at every image once; memory stays bounded whatever the data set's size."""
    seen = {name: _digests(split) for name, split in dataset.splits.items()}
    shared = {
        f"{first}/{second}": sum(count for digest, count in seen[second].items() if digest in seen[first])
        for first, second in itertools.combinations(seen, 2)
    }
    splits = {name: _of_split(split, dataset.classes, seen[name]) for name, split in dataset.splits.items()}
    return Statistics(str(dataset.train.images.dtype), dataset.shape, splits, shared)


def _chunks(split: Split) -> Iterator[np.ndarray]:
    return (np.ascontiguousarray(split.images[part]) for part in parts(len(split), split.images.shape[1:]))


def _digests(split: Split) -> Counter[bytes]:
    digests: Counter[bytes] = Counter()
    for images in _chunks(split):
        digests.update(hashlib.blake2b(image.data, digest_size=16).digest() for image in images)
    return digests


def _of_split(split: Split, classes: tuple[str, ...], digests: Counter[bytes]) -> SplitStatistics:
    values = np.zeros(256, np.int64)
    for images in _chunks(split):
        values += np.bincount(images.ravel(), minlength=256)
    levels, total = np.arange(256), max(1, values.sum())
    mean = float(values @ levels / total)
    present = np.flatnonzero(values)
    of_class = np.bincount(split.labels, minlength=len(classes))
    return SplitStatistics(
        images=len(split),
        classes=dict(zip(classes, of_class.tolist(), strict=True)),
        mean=round(mean, 4),
        deviation=round(float(np.sqrt(values @ (levels - mean) ** 2 / total)), 4),
        lowest=int(present[0]) if len(present) else 0,
        highest=int(present[-1]) if len(present) else 0,
        duplicates=len(split) - len(digests),
    )
