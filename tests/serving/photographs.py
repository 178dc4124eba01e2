"""Photograph-like pictures made from images of the data set: large, coloured, off-centre, tilted, on white, as JPEG."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

COLOURS = ("#7a1f1f", "#1f3f7a", "#1f6b3a", "#3b2a20", "#222222")


def photograph(image: NDArray[np.uint8], seed: int, background: str = "white") -> bytes:
    """A JPEG of about 700 x 600 pixels that shows the thing on `image`, uint8 (28, 28) on black."""
    chance = np.random.default_rng(seed)
    large = Image.fromarray(image).resize((420, 420), Image.Resampling.BICUBIC)
    # The shade of white of the data set's makers becomes a colour: dark where the image is bright.
    thing = ImageOps.colorize(ImageOps.invert(large), str(chance.choice(COLOURS)), "white")
    sheet = Image.new("RGB", (int(chance.integers(600, 800)), int(chance.integers(520, 700))), "white")
    left, top = int(chance.integers(10, sheet.width - 430)), int(chance.integers(10, sheet.height - 430))
    sheet.paste(thing, (left, top))
    tilted = sheet.rotate(5 if seed % 2 else -5, Image.Resampling.BICUBIC, fillcolor="white")
    lit = ImageChops.multiply(tilted, Image.new("RGB", tilted.size, background))
    content = io.BytesIO()
    lit.save(content, "JPEG", quality=70)
    return content.getvalue()
