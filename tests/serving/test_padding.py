"""Any number of images becomes runs of fixed sizes, and comes back as it was."""

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.model.padding import in_fixed_sizes


@pytest.mark.parametrize(
    ("count", "runs"), [(1, [1]), (2, [4]), (4, [4]), (5, [8]), (8, [8]), (9, [8, 1]), (21, [8, 8, 8])]
)
def test_runs_are_of_fixed_sizes_and_rows_keep_their_order(count: int, runs: list[int]) -> None:
    seen: list[int] = []

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(len(images))
        return images[:, 0, 0].astype(np.float32)

    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    assert in_fixed_sizes(images, (1, 4, 8), run)[:, 0].tolist() == list(range(count))
    assert seen == runs
