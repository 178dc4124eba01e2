"""Augmented images are the mirrored and shifted images that were asked for, and nothing else."""

import numpy as np
import tensorflow as tf

from trainer.augment import augment
from trainer.config import TrainConfig
from trainer.data import ImageDataset


def augmented(images: np.ndarray, config: TrainConfig, seed: int = 0) -> np.ndarray:
    return augment(tf.constant(images), tf.constant([seed, 0], tf.int64), config).numpy()


def shifted(image: np.ndarray, right: int, down: int) -> np.ndarray:
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    return padded[4 - down : 32 - down, 4 - right : 32 - right]


def test_mirror_gives_each_image_or_its_mirror_image(sample: ImageDataset) -> None:
    images = sample.train.images[:200]
    mirrored = 0
    for before, after in zip(images, augmented(images, TrainConfig(mirror=True)), strict=True):
        assert (after == before).all() or (after == before[:, ::-1]).all()
        mirrored += (after != before).any()
    assert 70 <= mirrored <= 130


def test_shift_moves_by_whole_pixels_and_fills_with_black(sample: ImageDataset) -> None:
    images = sample.train.images[:200]
    moves = [(right, down) for right in range(-2, 3) for down in range(-2, 3)]
    found = set()
    for before, after in zip(images, augmented(images, TrainConfig(shift=2)), strict=True):
        fitting = [move for move in moves if (shifted(before, *move) == after).all()]
        assert fitting
        found.update(fitting)
    assert found == set(moves)


def test_the_seed_alone_decides(sample: ImageDataset) -> None:
    images, config = sample.train.images[:50], TrainConfig(mirror=True, shift=2)
    assert (augmented(images, config, 1) == augmented(images, config, 1)).all()
    assert (augmented(images, config, 1) != augmented(images, config, 2)).any()


def test_colour_images_keep_their_channels() -> None:
    images = np.zeros((20, 32, 32, 3), np.uint8)
    images[..., 1] = 7
    assert set(np.unique(augmented(images, TrainConfig(mirror=True))[..., 1])) == {7}
