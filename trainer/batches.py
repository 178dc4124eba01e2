"""tf.data pipelines: from arrays to batches, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from trainer import augment
from trainer.config import TrainConfig
from trainer.data import Split


class TrainingBatches(keras.callbacks.Callback):
    """The batches of one run, and the callback that tells them the epoch.

    Attributes:
        dataset: uint8 images (batch, height, width, channels) and int64 labels (batch,); iterating it
            gives the current epoch's batches.
        steps: batches an epoch.
    """

    def __init__(self, split: Split, config: TrainConfig) -> None:
        super().__init__()
        self.steps = math.ceil(len(split) / config.batch_size)
        # On the host whatever the devices: the pipeline runs there.
        with tf.device("CPU"):
            self._epoch = tf.Variable(0, dtype=tf.int64)
            self.dataset = _training(split, config, self._epoch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch.assign(epoch)


def _training(split: Split, config: TrainConfig, epoch: tf.Variable) -> tf.data.Dataset:
    images, labels = tf.constant(split.images), tf.constant(split.labels)

    def shuffled(_: tf.Tensor) -> tf.data.Dataset:
        # Shuffle before batching, so that every epoch sees each image once.
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), _seed(config, epoch, -1))
        return tf.data.Dataset.from_tensor_slices(order).batch(config.batch_size)

    def gather(step: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One gather a batch instead of a small tensor an image.
        batch = tf.gather(images, chosen)
        if augment.wanted(config):
            batch = augment.augment(batch, _seed(config, epoch, step), config)
        return batch, tf.gather(labels, chosen)

    batches = tf.data.Dataset.range(1).flat_map(shuffled).enumerate()
    batches = batches.map(gather, num_parallel_calls=2, deterministic=True)
    count = math.ceil(len(split) / config.batch_size)
    return _fixed(batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(8))


def _fixed(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The pipeline with the parallelism that is written down in it.

    TensorFlow 2.21's autotuner looks at a pipeline at 10, 30, 70, ... ms, doubling its wait, and an epoch
    does not end before the next look: measured, one of 2.6 s ended after 5.1 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _seed(config: TrainConfig, epoch: tf.Variable, step: tf.Tensor | int) -> tf.Tensor:
    """A seed for one step of one epoch; step -1 is the epoch's order."""
    seed = tf.constant([config.seed, 0], tf.int64)
    seed = tf.random.fold_in(seed, epoch)
    return tf.random.fold_in(seed, tf.cast(step, tf.int64))


def evaluation_batches(split: Split, batch_size: int = 1000) -> tf.data.Dataset:
    """The images and labels of a split, in order."""
    with tf.device("CPU"):
        arrays = tf.data.Dataset.from_tensors((tf.constant(split.images), tf.constant(split.labels)))
        return _fixed(arrays.unbatch().batch(batch_size).cache().prefetch(2))
