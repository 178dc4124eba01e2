"""Request bodies become checked image batches here, or fail with one sentence that says why.

Pixels in JSON must fit the model as they are; image files are made to fit, and the reply says how.
"""

import base64
import binascii
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decoding.decode import decode, memory_of, side_of
from decoding.errors import CostlyFileError, ImageFileError
from decoding.heads import Head, head
from serving.errors import DeadlineError, InvalidImageError, TooLargeError
from serving.images.json_body import parse, plain_pixels
from serving.images.memory import DecodingMemory
from serving.images.photographs import EXAMINED, Look, imitate
from serving.images.pixels import Images, brief, check_count, from_lists, keys_of, times
from serving.settings import Settings

# The limit is the settings' own, checked on the header; Pillow's would only warn up to twice its value.
Image.MAX_IMAGE_PIXELS = None
# What it thinks of a client's file is for the client, not for the log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_memory = DecodingMemory()


@dataclass(frozen=True)
class Source:
    """Where an image came from: the name of its file, and what was done to make it fit and look right, if any."""

    file: str | None = None
    converted: str | None = None
    preprocessing: str | None = None


PIXELS = Source()  # of images that came as pixels: without a name, and as they are


@dataclass(frozen=True)
class Batch:
    """Images for the model, uint8 of shape (n, height, width, channels), and the source of each."""

    images: Images
    sources: tuple[Source, ...]


def from_json(
    body: bytes, shape: Sequence[int], settings: Settings, look: Look | None = None, deadline: float = math.inf
) -> Batch:
    """Read `{"images": [image, ...]}`, or `{"image": image}`.

    An image is nested lists of whole numbers from 0 to 255, or an image file as a data URL.

    Args:
        body: the JSON text.
        shape: (height, width, channels) of the model.
        settings: the limits.
        look, deadline: as of `from_files`.

    Raises:
        InvalidImageError: not JSON, other keys, pixels that `from_lists` refuses, or files that `from_files` refuses.
        TooLargeError: more images than `settings` allow, or more lists and keys than those need.
        DeadlineError: as `from_files`.
    """
    if (plain := plain_pixels(body, "images", shape, settings.max_images)) is not None:
        return Batch(plain, (PIXELS,) * len(plain))
    content = parse(body, settings.max_images, math.prod(shape))
    size = times(shape)
    wanted = f'a JSON object with the key "images" (n x {size} numbers) or "image" ({size} numbers)'
    if not isinstance(content, dict):
        raise InvalidImageError(f"The body must be {wanted}. Received: {brief(content)}.")
    if content.keys() not in ({"image"}, {"images"}):
        raise InvalidImageError(f"The body must be {wanted}. Received: {keys_of(content)}.")
    one = "image" in content
    name_of = (lambda _: "image") if one else "images[{}]".format
    images = [content["image"]] if one else content["images"]
    if not isinstance(images, list) or not images:
        raise InvalidImageError(f"`images` must be a list of at least one image. Received: {brief(images)}.")
    check_count(len(images), settings.max_images)
    if all(isinstance(image, str) for image in images):
        files = [(name_of(index), _from_data_url(image, name_of(index))) for index, image in enumerate(images)]
        batch = from_files(files, shape, settings, look, deadline)
        return replace(batch, sources=tuple(replace(source, file=None) for source in batch.sources))
    return Batch(from_lists(images, shape, name_of), (PIXELS,) * len(images))


def _from_data_url(text: str, name: str) -> bytes:
    """The file in a data URL (RFC 2397), whatever media type it tells."""
    head, comma, data = text.partition(",")
    if not (comma and head[:5].lower() == "data:" and head[-7:].lower() == ";base64"):
        wanted = "lists of numbers, or an image file as a data URL (data:image/png;base64,...)"
        raise InvalidImageError(f"`{name}` must be {wanted}. Received: {brief(text)}.")
    return from_base64(data, name)


def from_base64(text: str, name: str) -> bytes:
    """The bytes that base64 stands for; line breaks and missing padding are allowed, as TensorFlow Serving does."""
    try:
        data = "".join(text.split())
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImageError(f"`{name}` must hold base64. Received: {len(text)} characters that are not.") from None


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
    check_count(count, settings.max_images)
    return Batch(np.frombuffer(body, np.uint8).reshape(count, *shape), (PIXELS,) * count)


def from_files(
    files: Sequence[tuple[str | None, bytes]],
    shape: Sequence[int],
    settings: Settings,
    look: Look | None = None,
    deadline: float = math.inf,
) -> Batch:
    """Decode image files and make each fit the model.

    Args:
        files: name and content of each, at least one; the name is None where the body itself is the image.
        shape: (height, width, channels) of the model.
        look: of the training images, which pictures on a light background are given; None leaves them as they are.
        deadline: when it is too late to decode another one, by the monotonic clock.

    Raises:
        InvalidImageError: empty, broken, truncated, of another format, or nothing but a light background.
        TooLargeError: too many files, or pixels, scans, chunks and the like in one of them, for `settings`.
        DeadlineError: they take longer than the request may.
    """
    check_count(len(files), settings.max_images)
    most = max(1, settings.max_body_bytes // math.prod(shape))
    if len(files) > most:
        raise TooLargeError(
            f"A request may hold {most} image files of {times(shape)}, as many as it may hold pixels. "
            f"Received: {len(files)}."
        )
    images, sources = np.empty((len(files), *shape), np.uint8), []
    # One after the other, so that a request holds no more than one image at its full size.
    for index, (name, content) in enumerate(files):
        images[index], *notes = _read((name or "The body")[:60], content, shape, settings, look, deadline)
        sources.append(Source(name, *notes))
    return Batch(images, tuple(sources))


def _read(
    name: str, content: bytes, shape: Sequence[int], settings: Settings, look: Look | None, deadline: float
) -> tuple[NDArray[np.uint8], str | None, str | None]:
    """The pixels; how the image was converted, and made to look like the training images, None for not at all."""
    # A body of 16 MiB may unfold to minutes of work.
    if time.monotonic() > deadline:
        raise DeadlineError("The images took longer to decode than a request may. Send fewer, or smaller ones.")
    try:
        side = side_of(shape)
        found = head(content, side)
        width, height = found.size
        if (pixels := width * height) > (most := settings.max_image_pixels):
            raise CostlyFileError(f"must have at most {most} pixels. Received: {width}x{height}, which is {pixels}.")
        needed = memory_of(found, side, EXAMINED)
        if needed > (most := settings.max_decoding_bytes):
            raise CostlyFileError(
                f"must be decoded within {most} bytes of memory. Received: {found.format} of {width}x{height}, "
                f"which may take {needed}. Send it smaller, or as PNG or JPEG."
            )
    except CostlyFileError as error:
        raise TooLargeError(f"{name} {error}") from None
    except ImageFileError as error:
        raise InvalidImageError(f"{name} {error}") from None
    with _memory.taken(needed, most, deadline):
        # Here neither a variable nor a traceback may refer to what was decoded, so that it goes before others begin.
        try:
            return _fitted(content, found, shape, look)
        except ImageFileError as error:
            refused = str(error)
    raise InvalidImageError(f"{name} {refused}")


def _fitted(
    content: bytes, found: Head, shape: Sequence[int], look: Look | None
) -> tuple[NDArray[np.uint8], str | None, str | None]:
    picture = decode(content, found, side_of(shape))
    if look and picture.size != (shape[1], shape[0]) and (imitated := imitate(picture, look, shape)):
        return imitated
    return *picture.fit(shape), None
