"""The second data set: scikit-learn's handwritten digits, as a folder of pictures like a user's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

DATASET = "folder:digits"


def write(folder: Path) -> None:
    """Writes 1,797 pictures of 8x8 pixels as `folder/<digit>/<number>.png`, unless they are there."""
    if folder.exists():
        return
    found = load_digits()
    staged = folder.with_name(f".{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    for number, (values, digit) in enumerate(zip(found.images, found.target, strict=True)):
        (staged / str(digit)).mkdir(parents=True, exist_ok=True)
        pixels = np.rint(values * 255 / 16).astype(np.uint8)  # the set's grey levels are 0..16
        Image.fromarray(pixels).save(staged / str(digit) / f"{number:04}.png")
    staged.rename(folder)
