"""A score of how unlike the training data an image is: fitted here, computed again in serving.

An image is averaged into 7 x 7 cells; its score is the Mahalanobis distance of the cells to the nearest class's
mean, under one covariance for all classes, in units of the distance that 5 % of the validation images exceed. Above 1
it counts as out of distribution. It does not run the model, so that it is quick on every runtime.

Source: K. Lee, K. Lee, H. Lee and J. Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks", NeurIPS 2018, section 2.1, here on cells of the image instead of features of the network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data.cache import parts
from trainer.data.dataset import ImageDataset, Split

NAME = "familiar.npz"  # in a run's directory, and in a version's assets.extra
CELLS = 7  # a side; with 14, digits were told from clothes with an AUROC of 0.92 instead of 0.98
# Of the covariance to its mean variance, so that few images or dull pixels do no harm. Ledoit and Wolf's estimate is
# near 0 with many images, and told digits from clothes with an AUROC of 0.973 instead of 0.980.
SHRINKAGE = 0.1
MISSED = 0.05  # share of the validation images that may count as out of distribution
UNLIKE = 2000  # out-of-distribution images of each kind that the score is measured on


@dataclass(frozen=True)
class NoveltyScore:
    """The fitted numbers.

    Attributes:
        rows, columns: float32 (cells, height) and (width, cells), which average an image into cells.
        whiten: float32 (k, k), k being cells x cells x channels; makes the cells' spread one in every direction.
        centers: float32 (classes that have training images, k), the whitened mean of each.
        threshold: the distance that counts as 1.
    """

    rows: np.ndarray
    columns: np.ndarray
    whiten: np.ndarray
    centers: np.ndarray
    threshold: float

    def scores(self, images: np.ndarray) -> np.ndarray:
        """float (n,) for uint8 images (n, height, width, channels), n at least 1; above 1 is out of distribution."""
        whitened = _cells(images, self.rows, self.columns) @ self.whiten
        return _nearest(whitened, self.centers) / self.threshold

    def write(self, directory: Path) -> None:
        """Write the numbers for serving, which computes the same from them."""
        np.savez(directory / NAME, **vars(self))


def fit(dataset: ImageDataset) -> NoveltyScore:
    """The score of a data set, from its training images; the threshold from its validation images."""
    height, width, _ = dataset.shape
    rows, columns = _averaging(height), _averaging(width).T
    cells, labels = _cells(dataset.train.images, rows, columns), np.asarray(dataset.train.labels)
    _, places = np.unique(labels, return_inverse=True)  # a class without training images has no mean
    means = np.stack([cells[places == place].mean(axis=0) for place in range(places.max() + 1)])
    rest = cells - means[places]
    covariance = rest.T @ rest / len(rest)
    size = len(covariance)
    # At least one grey level: where the training images hardly differ, any other image would be infinitely far.
    covariance += np.eye(size) * max(1.0, SHRINKAGE * np.trace(covariance) / size)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
    centers = (means @ whiten).astype(np.float32)
    distances = _nearest(_cells(dataset.validation.images, rows, columns) @ whiten, centers)
    return NoveltyScore(rows, columns, whiten, centers, float(max(np.quantile(distances, 1 - MISSED), 1e-6)))


def measured(score: NoveltyScore, test: Split) -> dict[str, Any]:
    """How well the score tells out-of-distribution images from test images: the AUROC and the share found, by kind.

    Noise and inverted contrast are made here; digits are scikit-learn's handwritten ones, scaled, where the model
    takes grey images.
    """
    from sklearn.metrics import roc_auc_score  # a second to import, for this alone

    shape, rng = test.images.shape[1:], np.random.default_rng(0)
    makers: dict[str, tuple[int, Callable[[slice], np.ndarray]]] = {
        "noise": (UNLIKE, lambda part: rng.integers(0, 256, (part.stop - part.start, *shape), np.uint8)),
        "inverted contrast": (min(UNLIKE, len(test)), lambda part: 255 - np.asarray(test.images[part])),
    }
    if shape[2] == 1:
        drawn = _digits()
        makers["digits"] = (len(drawn), lambda part: _scaled(drawn[part], shape))
    own = score.scores(test.images)
    scores = {
        kind: np.concatenate([score.scores(make(part)) for part in parts(count, shape)])
        for kind, (count, make) in makers.items()
    }
    return {
        "flagged_test_images": float((own > 1).mean()),
        "kinds": {
            kind: {
                "auroc": float(roc_auc_score([0] * len(own) + [1] * len(found), np.concatenate([own, found]))),
                "found": float((found > 1).mean()),
                "images": len(found),
            }
            for kind, found in scores.items()
        },
    }


def _averaging(side: int) -> np.ndarray:
    """float32 (cells, side): each row averages one stretch of the side."""
    count = min(CELLS, side)
    edges = np.linspace(0, side, count + 1).astype(int)
    matrix = np.zeros((count, side), np.float32)
    for row, (low, high) in enumerate(itertools.pairwise(edges)):
        matrix[row, low:high] = 1 / (high - low)
    return matrix


def _cells(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float32 (n, channels x cells x cells)."""
    chunks = (np.asarray(images[part]) for part in parts(len(images), images.shape[1:]))
    return np.concatenate(
        [(rows @ np.moveaxis(chunk, 3, 1).astype(np.float32) @ columns).reshape(len(chunk), -1) for chunk in chunks]
    )


def _nearest(whitened: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The distance of each row to the nearest center, class by class, so that many classes need no more memory."""
    return np.min([np.linalg.norm(whitened - center, axis=1) for center in centers], axis=0)


def _digits() -> np.ndarray:
    """uint8 (1797, 8, 8): handwritten digits, which are the classes of few data sets."""
    from sklearn.datasets import load_digits

    return (load_digits().images * 255 / 16).astype(np.uint8)


def _scaled(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Grey images uint8 (n, any height, any width) as uint8 (n, *shape)."""
    size = (shape[1], shape[0])
    scaled = [np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BICUBIC)) for each in images]
    return np.stack(scaled)[..., None]
