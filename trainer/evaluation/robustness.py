"""Robustness: accuracy on images that are mirrored, rotated, shifted, noisy, blurred or pale, by stated strengths.

The corruptions and their strengths are part of the measure: change one, and figures no longer compare.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from trainer.data.cache import parts
from trainer.data.dataset import Split

MOST = 5000  # images judged, evenly over the split: the mean is then known to half a point, in half the time
Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (n, height, width, channels) to scores (n, classes)
Rng = np.random.Generator


def _mirror(images: np.ndarray, _: float, __: Rng) -> np.ndarray:
    return images[:, :, ::-1]


def _rotation(images: np.ndarray, degrees: float, rng: Rng) -> np.ndarray:
    """Rotated about the centre by so many degrees, to either side."""
    rotated, signs = np.empty(images.shape, np.float32), rng.choice([-1, 1], len(images))
    for sign in (-1, 1):
        chosen = images[signs == sign].astype(np.float32)
        rotated[signs == sign] = ndimage.rotate(chosen, sign * degrees, (1, 2), False, order=1, mode="grid-constant")
    return rotated


def _shift(images: np.ndarray, share: float, rng: Rng) -> np.ndarray:
    """Shifted along both axes by whole pixels, as many as `share` of the side, towards any of the four corners."""
    height, width = (max(1, round(share * side)) for side in images.shape[1:3])
    shifted = np.empty_like(images)
    across, down = rng.choice([-1, 1], (2, len(images)))
    for x, y in itertools.product((-1, 1), repeat=2):
        chosen = (across == x) & (down == y)
        shifted[chosen] = ndimage.shift(images[chosen], (0, -y * height, -x * width, 0), order=0)
    return shifted


def _noise(images: np.ndarray, deviation: float, rng: Rng) -> np.ndarray:
    """Gaussian noise of this standard deviation in grey levels of 255, on each value by itself."""
    return images + np.float32(deviation) * rng.standard_normal(images.shape, np.float32)


def _blur(images: np.ndarray, sigma: float, _: Rng) -> np.ndarray:
    """A Gaussian of this standard deviation in pixels; beyond an edge its pixels go on."""
    return ndimage.gaussian_filter(images.astype(np.float32), sigma, mode="nearest", truncate=3, axes=(1, 2))


def _contrast(images: np.ndarray, factor: float, _: Rng) -> np.ndarray:
    """Each image's distance from its own mean, times this factor."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + factor * (images - mean)


CORRUPTIONS: dict[str, tuple[Callable[[np.ndarray, float, Rng], np.ndarray], tuple[float, ...]]] = {
    "mirror": (_mirror, (1,)),
    "rotation": (_rotation, (5, 10, 20)),
    "shift": (_shift, (0.04, 0.07, 0.14)),  # 1, 2 and 4 of 28 pixels
    "noise": (_noise, (8, 16, 32)),
    "blur": (_blur, (0.5, 1, 1.5)),
    "contrast": (_contrast, (0.75, 0.5, 0.25)),
}
KINDS = tuple((name, strength) for name, (_, strengths) in CORRUPTIONS.items() for strength in strengths)


@dataclass(frozen=True)
class Robustness:
    """How a model did on each corruption of the same images.

    Attributes:
        kinds: (corruption, strength), in the order of `CORRUPTIONS`.
        right: bool (len(kinds), n), whether each image was classified correctly; n is at most `MOST`.
    """

    kinds: tuple[tuple[str, float], ...]
    right: np.ndarray

    @property
    def mean(self) -> float:
        """Accuracy, the mean over corruptions of the mean over their strengths."""
        return float(self.by_image().mean())

    def by_image(self) -> np.ndarray:
        """float (n,): the share of corruptions under which each image was classified correctly."""
        names = np.array([name for name, _ in self.kinds])
        return np.mean([self.right[names == name].mean(axis=0) for name in dict.fromkeys(names)], axis=0)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Accuracy by corruption and strength."""
        accuracies: dict[str, dict[str, float]] = {}
        for (name, strength), right in zip(self.kinds, self.right, strict=True):
            accuracies.setdefault(name, {})[f"{strength:g}"] = float(right.mean())
        return accuracies


def corrupted(images: np.ndarray, name: str, strength: float, seed: int = 0) -> np.ndarray:
    """Corrupts images, uint8 (n, height, width, channels) to the same; the seed alone decides the random numbers.

    Outside an image it is black.
    """
    corrupt, _ = CORRUPTIONS[name]
    result = corrupt(images, strength, np.random.default_rng([seed, *name.encode()]))
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def robustness(predict: Predict, split: Split, most: int = MOST) -> Robustness:
    """Evaluates a model on every corruption of a split; the same images for each model that is asked.

    Args:
        most: images judged, evenly over the split.
    """
    chosen = np.linspace(0, len(split) - 1, min(most, len(split))).astype(int)
    right = np.zeros((len(KINDS), len(chosen)), bool)
    for part in parts(len(chosen), split.images.shape[1:]):
        clean, labels = split.images[chosen[part]], split.labels[chosen[part]]
        for row, (name, strength) in enumerate(KINDS):
            images = corrupted(clean, name, strength, part.start)
            right[row, part] = predict(images).argmax(axis=1) == labels
    return Robustness(KINDS, right)
