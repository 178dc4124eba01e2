"""Augmentation of whole batches, stateless: the same seed gives the same images.

Mirror, rotation and shift are one affine transform an image, so that a batch is sampled once. What comes from
outside an image, or is erased, is black.
"""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.config import TrainConfig


def wanted(config: TrainConfig) -> bool:
    return bool(config.mirror or config.shift or config.rotate or config.erase)


def augment(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Augments a batch as the config asks.

    Args:
        images: uint8 (batch, height, width, channels).
        seed: int64 (2,); the images depend on no other random state.

    Returns:
        uint8 images of the same shape.
    """
    seeds = tf.unstack(tf.random.split(seed, 2))
    if config.mirror or config.shift or config.rotate:
        images = _moved(images, seeds[0], config)
    if config.erase:
        images = _erased(images, seeds[1], config.erase)
    return images


def _moved(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Each image mirrored or not, rotated about its centre, then shifted."""
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    seeds = tf.unstack(tf.random.split(seed, 3))
    flip = tf.random.stateless_uniform([count], seeds[0]) < (0.5 if config.mirror else 0.0)
    shift = tf.random.stateless_uniform([count, 2], seeds[1], -config.shift, config.shift + 1, tf.int32)
    shift = tf.cast(shift, tf.float32)
    limit = math.radians(config.rotate)
    angle = tf.random.stateless_uniform([count], seeds[2], -limit, limit) if limit else tf.zeros([count])
    cosine, sine, sign = tf.cos(angle), tf.sin(angle), tf.where(flip, -1.0, 1.0)
    # Each output pixel (x, y) is read at (a0 x + a1 y + a2, b0 x + b1 y + b2) of the input.
    a0, a1, b0, b1 = sign * cosine, -sign * sine, sine, cosine
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    a2 = middle_x - a0 * middle_x - a1 * middle_y + shift[:, 0]
    b2 = middle_y - b0 * middle_x - b1 * middle_y + shift[:, 1]
    zero = tf.zeros([count])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=[height, width],
        interpolation="BILINEAR" if limit else "NEAREST",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )


def _erased(images: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """A black square of `share` of the shorter side somewhere in each image.

    Source: T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with cutout" (2017).
    """
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    side = max(1, round(share * min(height, width)))
    seeds = tf.unstack(tf.random.split(seed, 2))
    top = tf.random.stateless_uniform([count, 1], seeds[0], 0, height - side + 1, tf.int32)
    left = tf.random.stateless_uniform([count, 1], seeds[1], 0, width - side + 1, tf.int32)
    rows, columns = tf.range(height)[None], tf.range(width)[None]
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    erased = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return tf.where(erased, tf.zeros([], images.dtype), images)
