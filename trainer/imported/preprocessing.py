"""The ranges of pixel values that models take, and how raw pixels are brought to them."""

from __future__ import annotations

from typing import Any

import numpy as np

# Pixel values by the name of their range: raw 0..255 ones are divided, then shifted, by a number a channel. `imagenet`
# is what PyTorch's pretrained models take, and `caffe` what keras.applications' ResNet50 and VGG take, in BGR.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RANGES: dict[str, tuple[Any, Any]] = {
    "0-255": (1, 0),
    "0-1": (255, 0),
    "-1-1": (127.5, 1),
    "imagenet": (255 * DEVIATION, MEAN / DEVIATION),
    "caffe": (1, np.array([103.939, 116.779, 123.68])),
}
OF_COLOUR = ("imagenet", "caffe")


def scaled(images: Any, name: str) -> Any:
    """Raw pixels, a float32 tensor (..., channels), in the range of that name."""
    if name == "0-255":
        return images
    divisor, shift = RANGES[name]
    return images * np.float32(1 / divisor) - np.float32(shift)
