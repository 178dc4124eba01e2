"""Batches of any size become runs of a few fixed sizes, so that a runtime meets no shape that it has not seen."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.images.pixels import Images

Run = Callable[[Images], NDArray[np.float32]]


def in_fixed_sizes(images: Images, sizes: Sequence[int], run: Run) -> NDArray[np.float32]:
    """Answer for `images` by calling `run` with batches of these `sizes` only.

    Args:
        images: shape (n, height, width, channels), n at least 1.
        sizes: ascending; more images than the last go in several runs, fewer are padded with black ones.
        run: from images of shape (size, height, width, channels) to rows of shape (size, classes).

    Returns:
        float32 of shape (n, classes), in the order of the images.
    """
    largest = sizes[-1]
    rows = [_run(images[start : start + largest], sizes, run) for start in range(0, len(images), largest)]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _run(images: Images, sizes: Sequence[int], run: Run) -> NDArray[np.float32]:
    count = len(images)
    size = next(each for each in sizes if each >= count)
    if size == count:
        return run(images)
    padded = np.zeros((size, *images.shape[1:]), images.dtype)
    padded[:count] = images
    return run(padded)[:count]
