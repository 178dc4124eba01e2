"""What is done to an experiment's data before training, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from study.experiments import PAIR
from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation.robustness import corrupted


def _nothing(dataset: ImageDataset) -> ImageDataset:
    return dataset


def _details(dataset: ImageDataset) -> ImageDataset:
    """A second channel with what blurring removes: collars, buttons and seams, which tell shirts from T-shirts."""

    def described(split: Split) -> Split:
        images = np.asarray(split.images)
        fine = images.astype(np.float32) - corrupted(images, "blur", 1.5)
        fine = np.clip(np.rint(128 + 2 * fine), 0, 255).astype(np.uint8)
        return Split(np.concatenate([images, fine], axis=-1), split.labels)

    train, validation, test = map(described, dataset.splits.values())
    return replace(dataset, train=train, validation=validation, test=test)


def _pair_twice(dataset: ImageDataset) -> ImageDataset:
    """The pair's training images twice, equivalent to a weight of two in the loss."""
    again = _of_pair(dataset, dataset.train)
    images = np.concatenate([dataset.train.images, again.images])
    return replace(dataset, train=Split(images, np.concatenate([dataset.train.labels, again.labels])))


def _pair_only(dataset: ImageDataset) -> ImageDataset:
    """Only the pair's images to train and validate on."""
    train, validation = (_of_pair(dataset, split) for split in (dataset.train, dataset.validation))
    return replace(dataset, train=train, validation=validation)


def _noisy(dataset: ImageDataset) -> ImageDataset:
    """Noise on every other training image, of the middle strength that is tested."""
    images = np.array(dataset.train.images)
    images[::2] = corrupted(images[::2], "noise", 16, seed=1)  # not the noise of the test images
    return replace(dataset, train=Split(images, dataset.train.labels))


PREPARATIONS: dict[str, Callable[[ImageDataset], ImageDataset]] = {
    "nothing": _nothing,
    "details": _details,
    "pair twice": _pair_twice,
    "pair only": _pair_only,
    "noisy": _noisy,
}


def _of_pair(dataset: ImageDataset, split: Split) -> Split:
    kept = np.isin(split.labels, [dataset.classes.index(name) for name in PAIR])
    return Split(np.asarray(split.images)[kept], split.labels[kept])
