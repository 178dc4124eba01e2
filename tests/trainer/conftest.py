"""What the trainer's tests share: images too many for memory, a measure of memory, a place for prepared data."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def sparse_images(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Black images of a shape (n, height, width, channels) in a file that takes no room on the disk."""

    def make(*shape: int) -> np.ndarray:
        np.lib.format.open_memmap(tmp_path / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        return np.load(tmp_path / "images.npy", mmap_mode="r")

    return make


@pytest.fixture
def peak() -> Callable[[Callable[[], object]], int]:
    """The most bytes that Python and NumPy held at once, above what they held before, while something was called."""

    def measure(call: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where prepared data is kept."""
    return tmp_path / "data"
