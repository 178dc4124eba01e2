"""The one layer that is not Keras's own: a convolution block on pixels, as one matrix product."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="trainer")
class PixelBlock(keras.layers.Layer):
    """A 3x3 zero-padded convolution, ReLU and 2x2 average pooling: the paper's conv block 1.

    It computes what `Conv2D(filters, 3, padding="same", activation="relu")` and `AveragePooling2D(2)` compute,
    from weights of the same shapes, in less than half of their time on a CPU, where a convolution of one channel
    is bound by memory. The four outputs that are pooled together read one 4x4 patch of the image;
    so the patches are laid out once, and multiplied by a kernel that holds the 3x3 kernel at its four places.

    Args:
        filters: channels of the output.

    Takes (batch, height, width, channels), gives (batch, height // 2, width // 2, filters).
    """

    def __init__(self, filters: int, **options: Any) -> None:
        super().__init__(**options)
        self.filters = filters

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, images: Any) -> Any:
        _, height, width, channels = images.shape
        rows, columns = height // 2, width // 2
        patches = ops.reshape(_patches(images, rows, columns), (-1, 16 * channels))
        outputs = ops.relu(ops.matmul(patches, self._placed(channels)) + ops.tile(self.bias, 4))
        pooled = ops.mean(ops.reshape(outputs, (-1, 4, self.filters)), axis=1)
        return ops.reshape(pooled, (-1, rows, columns, self.filters))

    def _placed(self, channels: int) -> Any:
        """The kernel at its four places in a patch: (16 * channels, 4 * filters)."""
        places = ops.cast(_PLACES, self.compute_dtype)
        kernel = ops.reshape(self.kernel, (9, channels, self.filters))
        return ops.reshape(ops.einsum("pok,kcf->pcof", places, kernel), (16 * channels, 4 * self.filters))

    def compute_output_shape(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        batch, height, width, _ = shape
        return batch, height // 2, width // 2, self.filters

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def _patches(images: Any, rows: int, columns: int) -> Any:
    """The 4x4 patch that each pooled output reads: (batch, rows, columns, 16 * channels)."""
    _, height, width, channels = images.shape
    padded = ops.pad(images, [[0, 0], [1, 2 * rows + 1 - height], [1, 2 * columns + 1 - width], [0, 0]])
    # By blocks of 2x2 pixels, so that each patch is four blocks: whole slices are cheap to copy, strided ones not.
    blocks = ops.reshape(padded, (-1, rows + 1, 2, columns + 1, 2, channels))
    blocks = ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, rows + 1, columns + 1, 4 * channels))
    corners = [blocks[:, :-1, :-1], blocks[:, :-1, 1:], blocks[:, 1:, :-1], blocks[:, 1:, 1:]]
    return ops.concatenate(corners, axis=-1)


def _kernel_places() -> np.ndarray:
    """1 where pixel p of a patch meets kernel element k for pooled output o: float32 (16 p, 4 o, 9 k)."""
    places = np.zeros((4, 4, 2, 2, 3, 3), np.float32)  # row, column; output's row, column; kernel's row, column
    for down, right, row, column in np.ndindex(2, 2, 3, 3):
        places[down + row, right + column, down, right, row, column] = 1
    # A patch's pixels come block by block: rows and columns are split into (block, within).
    blocks = places.reshape(2, 2, 2, 2, 4, 9).transpose(0, 2, 1, 3, 4, 5)
    return blocks.reshape(16, 4, 9)


_PLACES = _kernel_places()
