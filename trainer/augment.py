"""Augmentation of whole batches, stateless: the same seed gives the same images.

Mirror and shift are one affine transform an image, so that a batch is sampled once. Outside an image it is black.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.config import TrainConfig


def wanted(config: TrainConfig) -> bool:
    return config.mirror or config.shift > 0


def augment(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Augments a batch as the config asks.

    Args:
        images: uint8 (batch, height, width, channels).
        seed: int64 (2,); the only source of chance.

    Returns:
        uint8 images of the same shape.
    """
    count = tf.shape(images)[0]
    height, width = images.shape[1], images.shape[2]
    seeds = tf.unstack(tf.random.split(seed, 2))
    flip = tf.random.stateless_uniform([count], seeds[0]) < (0.5 if config.mirror else 0.0)
    shift = tf.random.stateless_uniform([count, 2], seeds[1], -config.shift, config.shift + 1, tf.int32)
    shift = tf.cast(shift, tf.float32)
    # Each output pixel (x, y) is read at (a0 x + a1 y + a2, b0 x + b1 y + b2) of the input.
    zero, one = tf.zeros([count]), tf.ones([count])
    a0 = tf.where(flip, -one, one)
    a2 = tf.where(flip, (width - 1.0) * one, zero) + shift[:, 0]
    transforms = tf.stack([a0, zero, a2, zero, one, shift[:, 1], zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        interpolation="NEAREST",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
