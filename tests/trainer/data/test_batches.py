"""The order of the images is a function of (seed, epoch), and nothing is lost or repeated."""

import numpy as np
import pytest

from trainer.config import TrainConfig
from trainer.data.batches import TrainingBatches, evaluation_batches
from trainer.data.dataset import ImageDataset, Split

pytestmark = pytest.mark.tensorflow

CONFIG = TrainConfig(batch_size=64)


def numbered(count: int) -> Split:
    """Images whose label tells which one they are."""
    return Split(np.zeros((count, 28, 28, 1), np.uint8), np.arange(count))


def order(batches: TrainingBatches, epoch: int) -> list[int]:
    batches.on_epoch_begin(epoch)
    return [int(label) for _, labels in batches.dataset for label in labels]


@pytest.mark.parametrize("count", [1, 64, 100, 400])
def test_every_epoch_sees_each_image_once(count: int) -> None:
    batches = TrainingBatches(numbered(count), CONFIG)
    assert sorted(order(batches, 0)) == list(range(count))
    assert batches.steps == len(list(batches.dataset)) == int(batches.dataset.cardinality())


def test_an_epoch_of_several_passes_sees_each_image_that_often_each_time_in_another_order() -> None:
    batches = TrainingBatches(numbered(100), TrainConfig(batch_size=64, passes=3))
    seen = order(batches, 0)
    passes = [seen[start : start + 100] for start in (0, 100, 200)]
    assert [sorted(each) for each in passes] == [list(range(100))] * 3
    assert passes[0] != passes[1] != passes[2]
    assert passes[0] == order(TrainingBatches(numbered(100), CONFIG), 0)
    assert batches.steps == len(list(batches.dataset)) == 6


def test_epochs_and_seeds_differ_in_order_and_repeat_themselves() -> None:
    batches = TrainingBatches(numbered(400), CONFIG)
    first, second = order(batches, 0), order(batches, 1)
    assert first != second
    assert order(batches, 0) == first
    assert order(TrainingBatches(numbered(400), CONFIG), 1) == second
    assert order(TrainingBatches(numbered(400), TrainConfig(batch_size=64, seed=1)), 0) != first


def test_without_shuffling_every_epoch_keeps_the_order_of_the_images() -> None:
    batches = TrainingBatches(numbered(400), TrainConfig(batch_size=64, shuffle=False))
    assert order(batches, 0) == order(batches, 1) == list(range(400))


def test_images_stay_with_their_labels(sample: ImageDataset) -> None:
    batches = TrainingBatches(sample.train, CONFIG)
    seen = np.concatenate([images for images, _ in batches.dataset.as_numpy_iterator()])
    chosen = np.concatenate([labels for _, labels in batches.dataset.as_numpy_iterator()])
    by_pixels = {image.tobytes(): int(label) for image, label in zip(*_arrays(sample.train), strict=True)}
    assert all(by_pixels[image.tobytes()] == label for image, label in zip(seen, chosen, strict=True))


def test_evaluation_keeps_the_order(sample: ImageDataset) -> None:
    labels = np.concatenate([labels for _, labels in evaluation_batches(sample.test).as_numpy_iterator()])
    assert (labels == sample.test.labels).all()


def test_each_epoch_augments_anew_and_a_repeated_epoch_augments_alike(sample: ImageDataset) -> None:
    config = TrainConfig(mirror=True, shift=2, shuffle=False)

    def epoch(number: int) -> np.ndarray:
        batches = TrainingBatches(sample.train, config)
        batches.on_epoch_begin(number)
        return np.concatenate([images for images, _ in batches.dataset.as_numpy_iterator()])

    first, second = epoch(0), epoch(1)
    assert (epoch(1) == second).all()
    changed = (first != second).any(axis=(1, 2, 3)).mean()
    assert changed > 0.9


def _arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.images, split.labels
