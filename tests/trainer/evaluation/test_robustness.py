"""Corruptions are the stated ones, the same for every model, and their accuracies are those of the images."""

from collections.abc import Callable

import numpy as np
import pytest

from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation.robustness import CORRUPTIONS, KINDS, Robustness, corrupted, robustness

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(("name", "strength"), KINDS)
def test_the_seed_alone_decides_and_the_images_stay_images(sample: ImageDataset, name: str, strength: float) -> None:
    images = sample.test.images[:50]
    once, again = corrupted(images, name, strength, 1), corrupted(images, name, strength, 1)
    assert (once == again).all()
    assert (once.dtype, once.shape) == (np.uint8, images.shape)
    assert (once != images).any()


@pytest.mark.parametrize("name", ["rotation", "shift", "noise", "blur", "contrast"])
def test_a_greater_strength_changes_more(sample: ImageDataset, name: str) -> None:
    images = sample.test.images.astype(int)
    strengths = CORRUPTIONS[name][1]
    changes = [np.abs(corrupted(sample.test.images, name, each) - images).mean() for each in strengths]
    assert changes == sorted(changes)


def test_mirror_shift_and_contrast_of_a_case_done_by_hand() -> None:
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 4, 2, 0] = 64
    assert np.argwhere(corrupted(image, "mirror", 1)[0, :, :, 0]).tolist() == [[4, 5]]
    ((row, column),) = np.argwhere(corrupted(image, "shift", 0.25)[0, :, :, 0]).tolist()
    assert (abs(row - 4), abs(column - 2)) == (2, 2)
    assert corrupted(image, "contrast", 0.5)[0, 4, 2, 0] == 32  # halfway from 64 to the mean of 1, rounded to even
    assert corrupted(np.full_like(image, 90), "contrast", 0.25).tolist() == np.full_like(image, 90).tolist()


def test_rotation_keeps_the_centre_and_turns_the_rest_by_the_angle() -> None:
    image = np.zeros((40, 29, 29, 1), np.uint8)
    image[:, 14, 14:28] = 255  # a hand of a clock that points right
    turned = corrupted(image, "rotation", 20)
    assert (turned[:, 14, 14, 0] > 200).all()
    ends = {int(np.argwhere(each[:, 26, 0] > 100)[:, 0].mean().round()) for each in turned}
    assert ends == {14 - 4, 14 + 4}  # 12 tan(20 degrees) = 4.4 pixels, to both sides


def test_blur_keeps_the_light_and_noise_has_its_deviation() -> None:
    image = np.full((20, 28, 28, 3), 128, np.uint8)
    assert (corrupted(image, "blur", 1.5) == 128).all()
    noisy = corrupted(image, "noise", 16).astype(float)
    assert noisy.std() == pytest.approx(16, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.5)


def test_every_model_is_asked_about_the_same_images(sample: ImageDataset) -> None:
    seen: list[bytes] = []

    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(images.tobytes())
        return np.eye(10)[np.full(len(images), 3)]

    first = robustness(predict, sample.test)
    half, seen = seen, []
    robustness(predict, sample.test)
    assert half == seen
    assert first.to_json()["noise"] == {"8": 0.1, "16": 0.1, "32": 0.1}
    assert first.mean == pytest.approx(0.1)


def test_the_mean_counts_every_corruption_alike() -> None:
    kinds = (("mirror", 1.0), ("noise", 8.0), ("noise", 16.0))
    measured = Robustness(kinds, np.array([[True, True], [False, True], [False, False]]))
    assert measured.by_image().tolist() == [0.5, 0.75]
    assert measured.mean == 0.625


def test_of_a_great_split_as_many_images_are_judged_evenly() -> None:
    # Sorted by class, as some data sets are.
    split = Split(np.zeros((20_000, 2, 2, 1), np.uint8), np.repeat(np.arange(10), 2000))
    measured = robustness(lambda images: np.eye(10)[np.zeros(len(images), int)], split)
    assert measured.right.shape == (len(KINDS), 5000)
    assert measured.right.sum(axis=1).tolist() == [500] * len(KINDS)


def test_large_images_are_corrupted_a_few_at_a_time(
    sparse_images: Callable[..., np.ndarray], peak: Callable[..., int]
) -> None:
    split = Split(sparse_images(6000, 128, 128, 3), np.zeros(6000, int))  # 295 MB

    def first_answer(images: np.ndarray) -> np.ndarray:
        raise InterruptedError  # all that is held at once is held by now

    def judge_one_batch() -> None:
        with pytest.raises(InterruptedError):
            robustness(first_answer, split)

    assert peak(judge_one_batch) < 50e6
