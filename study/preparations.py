"""What is done to an experiment's data before training, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from study.experiments import PAIR
from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation.robustness import corrupted


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


def _photographs(dataset: ImageDataset) -> ImageDataset:
    """Grey images as coloured ones on pieces of photographs, and a fifth as many to learn from.

    The test images are on another part of the photographs than the others.
    Source: H. Larochelle et al., "An empirical evaluation of deep architectures on problems with many factors of
    variation" (2007), which made MNIST harder in this way. The two photographs are scikit-learn's.
    """
    train, validation = dataset.train[::5], dataset.validation[::5]
    return replace(
        dataset,
        train=_on_photographs(train, slice(0, 480), seed=0),
        validation=_on_photographs(validation, slice(0, 480), seed=1),
        test=_on_photographs(dataset.test, slice(480, None), seed=2),
    )


PREPARATIONS: dict[str, Callable[[ImageDataset], ImageDataset]] = {
    "nothing": lambda dataset: dataset,
    "details": _details,
    "pair twice": _pair_twice,
    "pair only": _pair_only,
    "photographs": _photographs,
}


def _of_pair(dataset: ImageDataset, split: Split) -> Split:
    kept = np.isin(split.labels, [dataset.classes.index(name) for name in PAIR])
    return Split(np.asarray(split.images)[kept], split.labels[kept])


def _on_photographs(split: Split, columns: slice, seed: int) -> Split:
    """Each image in a colour of its own on a piece of these columns of a photograph, uint8 (n, height, width, 3)."""
    rng, count, size = np.random.default_rng(seed), len(split), split.images.shape[1:3]
    photographs = np.stack(load_sample_images().images)[:, :, columns]
    pieces = sliding_window_view(photographs, size, axis=(1, 2))  # (2, rows, columns, 3, height, width)
    behind = np.moveaxis(pieces[tuple(rng.integers(bound, size=count) for bound in pieces.shape[:3])], 1, -1)
    levels = np.asarray(split.images, np.float32)
    coloured = levels * rng.uniform(0.3, 1, (count, 1, 1, 3)).astype(np.float32)
    cover = np.minimum(levels / 64, 1)  # black, which surrounds an image, is transparent
    return Split(np.rint(cover * coloured + (1 - cover) * behind).astype(np.uint8), split.labels)
