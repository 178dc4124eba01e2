"""tf.data pipelines: from arrays to batches, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data import augment
from trainer.data.cache import images_at_once
from trainer.data.dataset import Split
from trainer.devices import ONE, Devices

# Images of up to this many bytes are copied into one tensor: an epoch of Fashion-MNIST (38 million bytes) takes 0.2 s
# less than with each batch read from the mapped file. Larger sets stay in the file.
IN_MEMORY = 512 * 2**20


class TrainingBatches(keras.callbacks.Callback):
    """The batches of one run, and the callback that sets their epoch.

    Attributes:
        dataset: uint8 images (batch, height, width, channels) and int64 labels (batch,); iterating it
            gives the current epoch's batches.
        steps: batches an epoch.
    """

    def __init__(self, split: Split, config: TrainConfig, devices: Devices = ONE) -> None:
        super().__init__()
        # Where devices must share each batch evenly, the incomplete last batch is dropped.
        whole = devices.shares > 1  # whole batches only
        steps = len(split) // config.batch_size if whole else math.ceil(len(split) / config.batch_size)
        self.steps = config.passes * steps
        # On the host whatever the devices: the pipeline runs there.
        with tf.device("CPU"):
            self._epoch = tf.Variable(0, dtype=tf.int64)
            self.dataset = _training(split, config, self._epoch, devices)
            self.dataset = self.dataset.apply(tf.data.experimental.assert_cardinality(self.steps))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch.assign(epoch)


def _training(split: Split, config: TrainConfig, epoch: tf.Variable, devices: Devices) -> tf.data.Dataset:
    read, labels = _reader(split.images), tf.constant(split.labels)

    def chosen_in_order(before: tf.Tensor) -> tf.data.Dataset:
        """The indices of one pass over the images, by batch; so many passes of the epoch were before."""
        order = tf.range(len(split))
        if config.shuffle:
            # Before batching, so that every pass sees each image once.
            order = tf.random.experimental.stateless_shuffle(order, _seed(config, epoch, -1 - before))
        return tf.data.Dataset.from_tensor_slices(order).batch(config.batch_size, drop_remainder=devices.shares > 1)

    def gather(step: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = read(chosen)
        if augment.wanted(config):
            batch = augment.augment(batch, _seed(config, epoch, step), config)
        return _share(batch, devices), _share(tf.gather(labels, chosen), devices)

    batches = tf.data.Dataset.range(config.passes).flat_map(chosen_in_order).enumerate()
    batches = batches.map(gather, num_parallel_calls=2, deterministic=True)
    return _fixed(batches.prefetch(8))


def _reader(images: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """From indices to a batch: one gather instead of a small tensor an image."""
    if images.nbytes <= IN_MEMORY:
        tensor = tf.constant(images)
        return lambda chosen: tf.gather(tensor, chosen)

    def from_map(chosen: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(lambda indices: images[indices], [chosen], tf.uint8, stateful=False)
        return tf.ensure_shape(batch, (None, *images.shape[1:]))

    return from_map


def _fixed(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The pipeline with the parallelism that is written down in it.

    TensorFlow 2.21's autotuner wakes after 10, 30, 70, ... ms, doubling its wait, and an epoch does not end before it
    wakes again: measured, one of 2.6 s ended after 5.1 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _seed(config: TrainConfig, epoch: tf.Variable, step: tf.Tensor | int) -> tf.Tensor:
    """A seed for one step of one epoch; step -1 is the order of the epoch's first pass, -2 of its second."""
    seed = tf.constant([config.seed, 0], tf.int64)
    seed = tf.random.fold_in(seed, epoch)
    return tf.random.fold_in(seed, tf.cast(step, tf.int64))


def _share(batch: tf.Tensor, devices: Devices) -> tf.Tensor:
    """This process's slice of a batch that all processes draw alike."""
    if devices.processes == 1:
        return batch
    share = tf.shape(batch)[0] // devices.processes
    return batch[devices.process * share : (devices.process + 1) * share]


def evaluation_batches(split: Split, devices: Devices = ONE) -> tf.data.Dataset:
    """The images and labels of a split, in order, without the last few that devices cannot share evenly."""
    shares = devices.shares
    size = max(1, images_at_once(split.images.shape[1:]) // shares) * shares
    with tf.device("CPU"):
        read, labels = _reader(split.images), tf.constant(split.labels)
        chosen = (
            tf.data.Dataset.range(len(split) // shares * shares).batch(size).map(lambda batch: _share(batch, devices))
        )
        return _fixed(chosen.map(lambda batch: (read(batch), tf.gather(labels, batch))).prefetch(2))
