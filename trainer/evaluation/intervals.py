"""How sure a measured share is: its interval, and what share, or how many images, a floor asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

Z = float(ndtri(0.975))  # of a 95 % interval


@dataclass(frozen=True)
class Share:
    """A share of images.

    Attributes:
        value: the share, from 0 to 1.
        images: how many it was measured on.
        effective: how many equally weighted images would tell as much; for the accuracy, `images`.
    """

    value: float
    images: int
    effective: float

    @property
    def is_plain(self) -> bool:
        """Whether all images count alike."""
        return round(self.effective, 6) == self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return wilson_interval(self.value * self.effective, self.effective)

    def needed(self, floor: float) -> float:
        """The share that would have to be exceeded on as many images; 1 or more: none would do."""
        return floor + Z * math.sqrt(floor * (1 - floor) / self.effective)

    def passing(self, floor: float) -> str:
        """The least that would be significantly above the floor on as many images, where `needed` is below 1."""
        needed = self.needed(floor)
        if not self.is_plain:
            return f"more than {needed:.4f}"
        right = math.floor(needed * self.images) + 1
        low, high = wilson_interval(right, self.images)
        return f"{right:,} of {self.images:,} images classified correctly ({low:.4f} to {high:.4f})"

    def images_needed(self, floor: float) -> int:
        """On how many images of the same proportions this share, above the floor, would be significantly above it."""
        effective = Z**2 * floor * (1 - floor) / (self.value - floor) ** 2
        return math.floor(effective * self.images / self.effective) + 1


def mean_recall(right: Sequence[float] | np.ndarray, images: Sequence[int] | np.ndarray) -> Share:
    """The mean of the recalls of the classes that have images.

    Where all classes have as many, it is the accuracy, and as sure.

    Args:
        right: of each class, how many images are classified correctly.
        images: of each class, how many there are.
    """
    counts = np.asarray(images)
    tested = counts > 0
    recalls = np.asarray(right)[tested] / counts[tested]
    # The variance of the mean of independent shares, as that of one share of so many images.
    effective = tested.sum() ** 2 / (1 / counts[tested]).sum()
    return Share(float(recalls.mean()), int(counts.sum()), float(effective))


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """95 % interval of a proportion; `trials` need not be a whole number.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share, weight = successes / trials, Z**2 / trials
    middle = share + weight / 2
    half = math.sqrt(weight * (share * (1 - share) + weight / 4))
    return max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight))
