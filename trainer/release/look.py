"""What grey training images look like, for serving to make photographs look alike: a thing on black, of what size.

Only what is measured on the training images counts, not the name of the data set.
"""

from __future__ import annotations

import numpy as np

from trainer.data.cache import parts
from trainer.data.dataset import Split

DARK = 12  # grey levels up to which a pixel is background: 5 % of 255, as Fashion-MNIST's makers had it
BORDER_SHARE = 0.6  # of an image's border must be dark; a thing may touch it
IMAGES_SHARE = 0.9  # of the images must have such a border


def look(train: Split) -> dict[str, int] | None:
    """{"side": pixels of the things' longest side, the median}; None where images are in colour or not on black."""
    if train.images.shape[3] != 1:
        return None
    chunks = [_looked_at(np.asarray(train.images[part])) for part in parts(len(train), train.images.shape[1:])]
    on_dark, longest = (np.concatenate(each) for each in zip(*chunks, strict=True))
    if on_dark.mean() < IMAGES_SHARE:
        return None
    return {"side": max(1, int(np.median(longest)))}


def _looked_at(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each image: whether its border is dark, and the longest side of what is not dark, in pixels."""
    lit = np.greater(images[..., 0], DARK)
    border = np.concatenate([lit[:, 0], lit[:, -1], lit[:, :, 0], lit[:, :, -1]], axis=1)
    sides = [_extent(np.any(lit, axis=axis)) for axis in (1, 2)]
    return border.mean(axis=1) <= 1 - BORDER_SHARE, np.maximum(*sides)


def _extent(lit: np.ndarray) -> np.ndarray:
    """From the first to the last true of each row, both counted; 0 where there is none."""
    first, after = lit.argmax(axis=1), lit.shape[1] - lit[:, ::-1].argmax(axis=1)
    return np.where(lit.any(axis=1), after - first, 0)
