"""Augmentation of whole batches, stateless: the same seed gives the same images.

An image is moved, blurred, lit, made noisy and partly erased, in this order, as a camera would do it. Mirror, rotation
and shift are one affine transform an image, so that a batch is sampled once. What comes from outside an image, or is
erased, is black. Each image draws its own strengths, evenly from none to what the config allows.
"""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.config import AUGMENTATIONS, TrainConfig


def wanted(config: TrainConfig) -> bool:
    """Whether the config asks for any augmentation."""
    return any(getattr(config, name) for name in AUGMENTATIONS)


def augment(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Augments a batch as the config asks.

    Args:
        images: uint8 (batch, height, width, channels).
        seed: int64 (2,); the images depend on no other random state.

    Returns:
        uint8 images of the same shape.
    """
    moving, erasing, blurring, lighting, noising = tf.unstack(tf.random.split(seed, 5))
    if config.mirror or config.shift or config.rotate:
        images = _moved(images, moving, config)
    if config.blur or config.contrast or config.brightness or config.noise:
        levels = tf.cast(images, tf.float32)
        if config.blur:
            levels = _blurred(levels, blurring, config.blur)
        if config.contrast or config.brightness:
            levels = _lit(levels, lighting, config)
        if config.noise:
            levels = _noisy(levels, noising, config.noise)
        images = tf.cast(tf.clip_by_value(tf.round(levels), 0, 255), tf.uint8)
    if config.erase:
        images = _erased(images, erasing, config.erase)
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


def _blurred(levels: tf.Tensor, seed: tf.Tensor, limit: float) -> tf.Tensor:
    """Each image blurred by a Gaussian; near an edge the weights of the pixels that are there sum to one."""
    deviation = tf.random.stateless_uniform([tf.shape(levels)[0], 1, 1], seed, 1e-3, limit)

    def weights(side: int) -> tf.Tensor:
        """(batch, side, side): how much of each pixel goes into each blurred one along a side."""
        position = tf.range(side, dtype=tf.float32)
        return tf.nn.softmax(-tf.square((position[:, None] - position) / deviation) / 2)

    rows, columns = (weights(side) for side in levels.shape[1:3])
    return tf.einsum("bih,bhwc,bjw->bijc", rows, levels, columns)


def _lit(levels: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Each image with another contrast about its mean, and brighter or darker."""
    random = tf.random.stateless_uniform([2, tf.shape(levels)[0], 1, 1, 1], seed, -1.0, 1.0)
    mean = tf.reduce_mean(levels, axis=(1, 2, 3), keepdims=True)
    return mean + (levels - mean) * (1 + random[0] * config.contrast) + random[1] * config.brightness


def _noisy(levels: tf.Tensor, seed: tf.Tensor, limit: float) -> tf.Tensor:
    """Gaussian noise on each value by itself, of a deviation for each image."""
    strengths, values = tf.unstack(tf.random.split(seed, 2))
    deviation = tf.random.stateless_uniform([tf.shape(levels)[0], 1, 1, 1], strengths, 0.0, limit)
    return levels + deviation * tf.random.stateless_normal(tf.shape(levels), values)


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
