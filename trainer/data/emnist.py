"""EMNIST: the names of its classes, which its files only number, and its images, which the files hold transposed.

Source: the mapping files that come with G. Cohen et al., "EMNIST: Extending MNIST to handwritten letters" (2017).
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

import numpy as np

_MERGED = (*digits, *ascii_uppercase, *"abdefghnqrt")  # the other lower-case letters look like their capitals
CLASSES: dict[str, tuple[str, ...]] = {
    "byclass": (*digits, *ascii_uppercase, *ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": ("unused", *ascii_uppercase),  # its labels begin with 1
    "digits": tuple(digits),
    "mnist": tuple(digits),
}


def upright(images: np.ndarray) -> np.ndarray:
    """EMNIST's images, (n, height, width, ...), as people read them."""
    return images.swapaxes(1, 2)
