"""From raw pixels to what an imported model takes, by one formula for numpy's and TensorFlow's arrays."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Preprocessing:
    """What is done to raw pixels.

    Attributes:
        range: a key of `RANGES`.
        bgr: whether red and blue change places before.
        channels_first: whether the model takes (batch, channels, height, width).
        dtype: that the model takes, such as "float32".
    """

    range: str
    bgr: bool
    channels_first: bool
    dtype: str

    @property
    def scale(self) -> np.ndarray:
        """float32 (channels,) or (): what raw pixels are multiplied by."""
        return np.asarray(1 / np.asarray(RANGES[self.range][0], np.float64), np.float32)

    @property
    def shift(self) -> np.ndarray:
        """float32 (channels,) or (): what is subtracted then."""
        return np.asarray(RANGES[self.range][1], np.float32)

    @property
    def reverses(self) -> bool:
        """Whether the channels change their order."""
        return self.bgr or self.range == "caffe"

    @property
    def scales(self) -> bool:
        return self.range != "0-255"

    def scaled(self, images: Any) -> Any:
        """Raw pixels, float32 (n, height, width, channels) of numpy or TensorFlow, in the model's range and order."""
        if self.reverses:
            images = images[..., ::-1]
        return images * self.scale - self.shift if self.scales else images

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels) as the model takes them."""
        scaled = self.scaled(images.astype(np.float32))
        return (np.moveaxis(scaled, 3, 1) if self.channels_first else scaled).astype(self.dtype)

    def __str__(self) -> str:
        order = ", blue before red" if self.reverses else ""
        return f"{self.range}{order}"
