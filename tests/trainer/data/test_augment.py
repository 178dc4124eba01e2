"""Augmented images are what was asked for, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.augment import augment
from trainer.data.dataset import ImageDataset

pytestmark = pytest.mark.tensorflow


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


@pytest.mark.parametrize(
    "config",
    [TrainConfig(mirror=True, shift=2), TrainConfig(blur=2), TrainConfig(contrast=0.5, brightness=20, noise=9)],
    ids=["moved", "blurred", "light and noise"],
)
def test_the_seed_alone_decides(config: TrainConfig, sample: ImageDataset) -> None:
    images = sample.train.images[:50]
    assert (augmented(images, config, 1) == augmented(images, config, 1)).all()
    assert (augmented(images, config, 1) != augmented(images, config, 2)).any()


def test_colour_images_keep_their_channels() -> None:
    images = np.zeros((20, 32, 32, 3), np.uint8)
    images[..., 1] = 7
    assert set(np.unique(augmented(images, TrainConfig(mirror=True))[..., 1])) == {7}


def test_rotation_turns_about_the_centre_by_no_more_than_asked() -> None:
    centre = np.zeros((100, 29, 29, 1), np.uint8)
    centre[:, 14, 14] = 255
    off = np.zeros((100, 29, 29, 1), np.uint8)
    off[:, 2, 14] = 255  # 12 pixels above the centre
    config = TrainConfig(rotate=30)
    assert (augmented(centre, config)[:, 14, 14, 0] > 200).all()
    turned = augmented(off, config)[..., 0]
    brightest = [np.unravel_index(image.argmax(), image.shape) for image in turned]
    sideways = np.array([column - 14 for _, column in brightest])
    assert np.abs(sideways).max() <= 12 * np.sin(np.radians(30)) + 1
    assert sideways.min() < -3
    assert sideways.max() > 3


def test_mirrored_and_unmirrored_images_turn_both_ways() -> None:
    image = np.zeros((29, 29), np.uint8)
    image[2, 14] = 255  # 12 pixels above the centre: shows the way of the turn
    image[14, 26] = 128  # to the right of the centre: shows the mirror
    turned = augmented(np.repeat(image[None, ..., None], 200, axis=0), TrainConfig(mirror=True, rotate=30))[..., 0]
    above = np.array([each[:14].max(axis=0).argmax() for each in np.where(turned > 140, turned, 0)])
    columns = np.arange(29)
    beside = np.array([(each[8:21].sum(axis=0) * columns).sum() / each[8:21].sum() for each in turned.astype(int)])
    for mirrored in (True, False):
        of_these = above[(beside < 14) == mirrored]
        assert len(of_these) > 50
        assert (of_these < 12).any()
        assert (of_these > 16).any()


def test_erasing_blacks_out_one_square_in_each_image() -> None:
    white = np.full((50, 28, 28, 1), 255, np.uint8)
    erased = augmented(white, TrainConfig(erase=0.25))[..., 0] == 0
    assert (erased.sum(axis=(1, 2)) == 7 * 7).all()
    assert len({tuple(np.argwhere(image)[0]) for image in erased}) > 20


def test_contrast_moves_pixels_towards_the_images_mean_or_away_from_it() -> None:
    image = np.full((200, 8, 8, 3), 100, np.uint8)
    image[:, :4] = 140
    changed = augmented(image, TrainConfig(contrast=0.5)).astype(int)
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), 120, atol=0.6)
    contrasts = (changed[:, 0, 0, 0] - changed[:, 7, 0, 0]) / 40
    assert contrasts.min() >= 0.45
    assert contrasts.min() < 0.6
    assert 1.4 < contrasts.max() <= 1.55


def test_brightness_adds_the_same_to_every_pixel_of_an_image() -> None:
    images = np.random.default_rng(0).integers(60, 200, (200, 8, 8, 1)).astype(np.uint8)
    added = augmented(images, TrainConfig(brightness=40)).astype(int) - images
    assert (added.min(axis=(1, 2, 3)) == added.max(axis=(1, 2, 3))).all()
    assert -40 <= added.min() < -30
    assert 30 < added.max() <= 40


def test_light_that_is_too_bright_saturates() -> None:
    images = np.full((50, 8, 8, 1), 250, np.uint8)
    assert augmented(images, TrainConfig(brightness=100)).max() == 255


def test_noise_is_of_another_deviation_in_each_image_up_to_what_was_asked_for() -> None:
    grey = np.full((200, 28, 28, 3), 128, np.uint8)
    noisy = augmented(grey, TrainConfig(noise=20)).astype(float)
    deviations = noisy.std(axis=(1, 2, 3))
    assert deviations.min() < 2
    assert 18 < deviations.max() < 21
    np.testing.assert_allclose(noisy.mean(), 128, atol=0.2)
    strong = noisy[deviations.argmax()]
    assert abs(np.corrcoef(strong[..., 0].ravel(), strong[..., 1].ravel())[0, 1]) < 0.2  # channels by themselves


def test_blur_spreads_a_point_and_leaves_a_blank_image_as_it_is() -> None:
    points = np.zeros((100, 29, 29, 1), np.uint8)
    points[:, 14, 14] = 255
    blurred = augmented(points, TrainConfig(blur=2))[..., 0].astype(float)
    brightest = blurred.max(axis=(1, 2))
    assert (blurred[:, 14, 14] == brightest).all()
    assert brightest.min() == pytest.approx(255 / (2 * np.pi * 2**2), abs=2)  # the peak of the strongest Gaussian
    assert brightest.max() > 200
    grey = np.full((50, 8, 12, 3), 77, np.uint8)
    assert set(np.unique(augmented(grey, TrainConfig(blur=3)))) == {77}
