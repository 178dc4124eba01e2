"""Robustness: accuracy on images that are mirrored, turned, moved, noisy, blurred or pale, by stated strengths.

The corruptions and their strengths are part of the measure: change one, and figures no longer compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.data.cache import parts
from trainer.data.dataset import Split

MOST = 5000  # images judged, evenly over the split: the mean is then known to half a point, in half the time
Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (n, height, width, channels) to scores (n, classes)
Chance = np.random.Generator


def _mirror(images: np.ndarray, _: float, __: Chance) -> np.ndarray:
    return images[:, :, ::-1]


def _rotation(images: np.ndarray, degrees: float, chance: Chance) -> np.ndarray:
    """Turned about the centre by so many degrees, to either side."""
    angles = np.deg2rad(degrees) * _signs(len(images), chance)
    cos, sin = np.cos(angles), np.sin(angles)
    y, x = (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2
    zero = np.zeros(len(images))
    rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, zero, zero]
    return _transformed(images, np.stack(rows, axis=1))


def _shift(images: np.ndarray, share: float, chance: Chance) -> np.ndarray:
    """Moved along both axes by whole pixels, as many as `share` of the side, towards any of the four corners."""
    zero, one = np.zeros(len(images)), np.ones(len(images))
    across = max(1, round(share * images.shape[2])) * _signs(len(images), chance)
    down = max(1, round(share * images.shape[1])) * _signs(len(images), chance)
    return _transformed(images, np.stack([one, zero, across, zero, one, down, zero, zero], axis=1))


def _noise(images: np.ndarray, deviation: float, chance: Chance) -> np.ndarray:
    """Gaussian noise of this standard deviation in grey levels of 255, on each value by itself."""
    return images + np.float32(deviation) * chance.standard_normal(images.shape, np.float32)


def _blur(images: np.ndarray, sigma: float, _: Chance) -> np.ndarray:
    """A Gaussian of this standard deviation in pixels; beyond an edge its pixels go on."""
    reach = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    blurred = images.astype(np.float32)
    for axis in (1, 2):
        length = blurred.shape[axis]
        padding = [(reach, reach) if each == axis else (0, 0) for each in range(4)]
        padded = np.pad(blurred, padding, mode="edge")
        parts = (np.take(padded, range(at, at + length), axis) for at in range(2 * reach + 1))
        blurred = sum(weight * part for weight, part in zip(weights.astype(np.float32), parts, strict=True))
    return blurred


def _contrast(images: np.ndarray, factor: float, _: Chance) -> np.ndarray:
    """Each image's distance from its own mean, times this factor."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + factor * (images - mean)


CORRUPTIONS: dict[str, tuple[Callable[[np.ndarray, float, Chance], np.ndarray], tuple[float, ...]]] = {
    "mirror": (_mirror, (1,)),
    "rotation": (_rotation, (5, 10, 20)),
    "shift": (_shift, (0.04, 0.07, 0.14)),  # 1, 2 and 4 of 28 pixels
    "noise": (_noise, (8, 16, 32)),
    "blur": (_blur, (0.5, 1, 1.5)),
    "contrast": (_contrast, (0.75, 0.5, 0.25)),
}


@dataclass(frozen=True)
class Robustness:
    """How a model did on each corruption of the same images.

    Attributes:
        kinds: (corruption, strength), in the order of `CORRUPTIONS`.
        right: bool (len(kinds), n), whether each image's class was named; n is at most `MOST`.
    """

    kinds: tuple[tuple[str, float], ...]
    right: np.ndarray

    @property
    def mean(self) -> float:
        """Accuracy, the mean over corruptions of the mean over their strengths."""
        return float(self.by_image().mean())

    def by_image(self) -> np.ndarray:
        """float (n,): the share of corruptions under which each image's class was named."""
        names = np.array([name for name, _ in self.kinds])
        return np.mean([self.right[names == name].mean(axis=0) for name in dict.fromkeys(names)], axis=0)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Accuracy by corruption and strength."""
        accuracies: dict[str, dict[str, float]] = {}
        for (name, strength), right in zip(self.kinds, self.right, strict=True):
            accuracies.setdefault(name, {})[f"{strength:g}"] = float(right.mean())
        return accuracies


def corrupted(images: np.ndarray, name: str, strength: float, seed: int = 0) -> np.ndarray:
    """Corrupts images, uint8 (n, height, width, channels) to the same; the seed alone decides chance.

    Outside an image it is black.
    """
    corrupt, _ = CORRUPTIONS[name]
    result = corrupt(images, strength, np.random.default_rng([seed, *name.encode()]))
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def robustness(predict: Predict, split: Split, seed: int = 0) -> Robustness:
    """Judges a model on every corruption of a split; the same images for each model that is asked."""
    kinds = [(name, strength) for name, (_, strengths) in CORRUPTIONS.items() for strength in strengths]
    chosen = np.linspace(0, len(split) - 1, min(MOST, len(split))).astype(int)
    right = np.zeros((len(kinds), len(chosen)), bool)
    for part in parts(len(chosen), split.images.shape[1:]):
        clean, labels = split.images[chosen[part]], split.labels[chosen[part]]
        for row, (name, strength) in enumerate(kinds):
            images = corrupted(clean, name, strength, seed + part.start)
            right[row, part] = predict(images).argmax(axis=1) == labels
    return Robustness(tuple(kinds), right)


def _signs(count: int, chance: Chance) -> np.ndarray:
    return chance.choice([-1.0, 1.0], count)


def _transformed(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Each output pixel (x, y) is read at (a0 x + a1 y + a2, b0 x + b1 y + b2) of its image."""
    with tf.device("CPU"):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.constant(images, tf.float32),
            transforms=tf.constant(transforms, tf.float32),
            output_shape=images.shape[1:3],
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
            fill_value=0.0,
        ).numpy()
