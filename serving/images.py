"""Request bodies become checked image batches here, or fail with one sentence that says why.

JSON carries pixels and must fit the model as it is; image files are made to fit, and the reply says how.
"""

import io
import math
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving import arrival, plain_json
from serving.errors import DeadlineError, InvalidImageError, TooLargeError
from serving.fitting import Fitted, fit
from serving.json_text import parse
from serving.likeness import Look
from serving.pixels import brief, from_lists, keys_of, times
from serving.settings import Settings

# The limit is the settings' own, checked on the header; Pillow's would only warn up to twice its value.
Image.MAX_IMAGE_PIXELS = None
# What it thinks of a client's file is for the client, not for the log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

LARGE = 2**20  # pixels; of larger images a worker holds one at a time, or a few requests could take all memory
_large = threading.Lock()

# What people try to send, by how it begins, so that they are told what it is.
OTHERS = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP", b"%PDF": "PDF"}


@dataclass(frozen=True)
class Source:
    """Where an image came from: the name of its file, and what was done to make it fit and look right, if any."""

    file: str | None = None
    converted: str | None = None
    preprocessing: str | None = None


@dataclass(frozen=True)
class Batch:
    """Images for the model, uint8 of shape (n, height, width, channels), and the source of each."""

    images: NDArray[np.uint8]
    sources: tuple[Source, ...]


def from_json(body: bytes, shape: Sequence[int], settings: Settings) -> Batch:
    """Read `{"images": [image, ...]}`, or `{"image": image}`: nested lists of whole numbers from 0 to 255.

    Args:
        body: the JSON text.
        shape: (height, width, channels) of the model.

    Raises:
        InvalidImageError: not JSON, other keys, or pixels that `from_lists` refuses.
        TooLargeError: more images than `settings` allow, or more lists and keys than those need.
    """
    if (plain := plain_json.pixels(body, "images", shape, settings.max_images)) is not None:
        return Batch(plain, (Source(),) * len(plain))
    content = parse(body, settings.max_images, math.prod(shape))
    size = times(shape)
    wanted = f'a JSON object with the key "images" (n x {size} numbers) or "image" ({size} numbers)'
    if not isinstance(content, dict):
        raise InvalidImageError(f"The body must be {wanted}. Received: {brief(content)}.")
    if content.keys() not in ({"image"}, {"images"}):
        raise InvalidImageError(f"The body must be {wanted}. Received: {keys_of(content)}.")
    if "image" in content:
        return Batch(from_lists([content["image"]], shape, lambda _: "image"), (Source(),))
    images = content["images"]
    if not isinstance(images, list) or not images:
        raise InvalidImageError(f"`images` must be a list of at least one image. Received: {brief(images)}.")
    _check_count(len(images), settings)
    pixels = from_lists(images, shape)
    return Batch(pixels, (Source(),) * len(images))


def from_raw(body: bytes, shape: Sequence[int], settings: Settings) -> Batch:
    """Read uint8 pixels as they lie in memory: n x height x width x channels, nothing before and after.

    Raises:
        InvalidImageError: no whole number of images.
        TooLargeError: too many images for `settings`.
    """
    size = math.prod(shape)
    count, rest = divmod(len(body), size)
    if not count or rest:
        raise InvalidImageError(f"The body must be images of {times(shape)} bytes. Received: {len(body)} bytes.")
    _check_count(count, settings)
    return Batch(np.frombuffer(body, np.uint8).reshape(count, *shape), (Source(),) * count)


def from_files(
    files: Sequence[tuple[str | None, bytes]], shape: Sequence[int], settings: Settings, look: Look | None = None
) -> Batch:
    """Decode image files and make each fit the model.

    Args:
        files: name and content of each, at least one; the name is None where the body itself is the image.
        shape: (height, width, channels) of the model.
        look: of the training images, which pictures on a light background are given; None leaves them as they are.

    Raises:
        InvalidImageError: empty, broken, truncated, neither PNG nor JPEG, or nothing but a light background.
        TooLargeError: too many files, or pixels in one of them, for `settings`.
        DeadlineError: they take longer than the request may.
    """
    _check_count(len(files), settings)
    # One after the other, so that a request holds no more than one image at its full size.
    fitted = [_read((name or "The body")[:60], content, shape, settings, look) for name, content in files]
    sources = (Source(name, *notes) for (name, _), (_, *notes) in zip(files, fitted, strict=True))
    return Batch(np.stack([image for image, *_ in fitted]), tuple(sources))


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.max_images:
        raise TooLargeError(f"A request may hold {settings.max_images} images. Received: {count}.")


def _read(name: str, content: bytes, shape: Sequence[int], settings: Settings, look: Look | None) -> Fitted:
    # A body of 16 MiB may unfold to minutes of work.
    if time.monotonic() > arrival.due(settings.deadline_ms):
        raise DeadlineError("The images took longer to decode than a request may. Send fewer, or smaller ones.")
    image = _opened(content, name, settings)
    with _large if image.width * image.height > LARGE else nullcontext():
        return fit(_decoded(image, content, name), shape, look, name)


def _kind(content: bytes) -> str:
    """What the bytes are, as far as their beginning tells."""
    kind = next((kind for begin, kind in OTHERS.items() if content.startswith(begin)), None)
    if content[4:8] == b"ftyp":
        kind = "HEIC, AVIF or a film"
    elif b"<svg" in content[:1000]:
        kind = "SVG"
    return f"of {kind}" if kind else f"that are neither, beginning with {content[:12]!r}"


def _opened(content: bytes, name: str, settings: Settings) -> Image.Image:
    """A PNG or JPEG of which the head is read, and the size checked."""
    wanted = f"{name} must be a PNG or JPEG image"
    if not content:
        raise InvalidImageError(f"{wanted}. Received: nothing.")
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except Exception:
        # Decoders raise whatever they like on broken input: OSError, SyntaxError, struct.error, ...
        raise InvalidImageError(f"{wanted}. Received: {len(content)} bytes {_kind(content)}.") from None
    if (pixels := image.width * image.height) > settings.max_image_pixels:
        raise TooLargeError(
            f"{name} must have at most {settings.max_image_pixels} pixels. "
            f"Received: {image.width}x{image.height}, which is {pixels}."
        )
    return image


def _decoded(image: Image.Image, content: bytes, name: str) -> Image.Image:
    try:
        image.load()
    except Exception as error:
        came = f"{len(content)} bytes of {image.format}, broken or cut off ({error})"
        raise InvalidImageError(f"{name} must be a PNG or JPEG image. Received: {came}.") from None
    return image
