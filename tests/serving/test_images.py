"""Bodies become batches: JSON as it is, image files made to fit, everything else refused in a sentence."""

import io
import json
import struct
import time
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from serving.errors import DeadlineError, InvalidImageError, TooLargeError
from serving.images.files import Batch, from_files, from_json
from serving.settings import Settings

SHAPE = (28, 28, 1)
LIMITS = Settings(max_images=3, max_image_pixels=10_000)


def png(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes, shape: tuple[int, ...] = SHAPE) -> Batch:
    return from_files([(None, content)], shape, LIMITS)


def test_images_of_a_json_body_become_a_batch(image: NDArray[np.uint8]) -> None:
    batch = from_json(json.dumps({"images": [image.tolist(), image.T.tolist()]}).encode(), SHAPE, LIMITS)
    assert batch.images.dtype == np.uint8
    assert (batch.images[..., 0] == [image, image.T]).all()
    assert [source.converted for source in batch.sources] == [None, None]


def test_one_image_of_a_json_body_becomes_a_batch_of_one(image: NDArray[np.uint8]) -> None:
    batch = from_json(json.dumps({"image": image[..., None].tolist()}).encode(), SHAPE, LIMITS)
    assert (batch.images == image[None, ..., None]).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body must be JSON. Received: 0 bytes that are not"),
        (b"{", "The body must be JSON. Received: 1 bytes that are not"),
        (b'{"image": \xff}', "The body must be JSON. Received: 12 bytes that are not"),
        (b'{"image": ' + b"9" * 5000 + b"}", "The body must be JSON."),
        (b"[" * 5000, "The body must be JSON. Received: 5000 bytes that are not (depth limit exceeded"),
        (b'{"image": NaN}', "The body must be JSON. Received: 14 bytes that are not"),
        (b'{"image": -Infinity}', "The body must be JSON. Received: 20 bytes that are not"),
        (b'{"image": [[1e999]]}', "The body must be JSON. Received: 20 bytes that are not (number is infinity"),
        (b"[]", 'The body must be a JSON object with the key "images" (n x 28 x 28 x 1 numbers) or "image"'),
        (b"{}", 'The body must be a JSON object with the key "images"'),
        (b'{"instances": []}', 'The body must be a JSON object with the key "images"'),
        (
            json.dumps(dict.fromkeys(map(str, range(900)))).encode(),
            'The body must be a JSON object with the key "images" (n x 28 x 28 x 1 numbers) or "image" (28 x 28 x 1 '
            'numbers). Received: the keys "0", "1", "2", "3", "4" and 895 more.',
        ),
        (b'{"image": 1, "images": 2}', 'The body must be a JSON object with the key "images"'),
        (b'{"images": []}', "`images` must be a list of at least one image. Received: a list of 0."),
        (b'{"images": 3}', "`images` must be a list of at least one image. Received: 3."),
        (b'{"images": [[3]]}', "`images[0]` must be a list of 28 x 28 numbers. Received: a list of 1."),
    ],
)
def test_a_json_body_that_is_no_batch_is_refused_in_a_sentence(body: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError) as caught:
        from_json(body, SHAPE, LIMITS)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("inner", "count"),
    # The last has few commas for three images, but many keys.
    [("[],", 100_000), ("0,", 100_000), ("{},", 100_000), ('"a":0,', 5000)],
)
def test_json_that_would_fill_the_memory_is_refused_before_it_is_parsed(inner: str, count: int) -> None:
    left, right = ("{", "}") if ":" in inner else ("[", "]")
    body = f'{{"images": {left}{(inner * count)[:-1]}{right}}}'.encode()
    with pytest.raises(TooLargeError, match=r"^The JSON may hold 3 images of 784 numbers\. Received: \d+ bytes with"):
        from_json(body, SHAPE, LIMITS)


def test_as_many_images_as_allowed_may_be_spelled_out(image: NDArray[np.uint8]) -> None:
    body = json.dumps({"images": [image[..., None].astype(float).tolist()] * 3}).encode()
    assert len(from_json(body, SHAPE, LIMITS).images) == 3


def test_more_images_than_allowed_are_refused() -> None:
    with pytest.raises(TooLargeError, match=r"^A request may hold 3 images\. Received: 4\.$"):
        from_json(b'{"images": [0, 0, 0, 0]}', SHAPE, LIMITS)
    with pytest.raises(TooLargeError, match=r"^A request may hold 3 images\. Received: 4\.$"):
        from_files([(None, b"")] * 4, SHAPE, LIMITS)


def test_a_png_that_fits_is_taken_pixel_by_pixel(image: NDArray[np.uint8]) -> None:
    batch = read(png(image))
    assert (batch.images == image[None, ..., None]).all()
    assert batch.sources[0].converted is None


def test_a_jpeg_that_fits_is_taken_as_it_is() -> None:
    grey = np.full((28, 28), 77, np.uint8)
    batch = read(png(grey, "JPEG"))
    assert (batch.images == 77).all()
    assert batch.sources[0].converted is None


def test_another_size_and_colours_are_converted_and_said(image: NDArray[np.uint8]) -> None:
    large = Image.fromarray(np.full((56, 40), 77, np.uint8)).convert("RGB")
    batch = read(png(large))
    assert batch.images.shape == (1, 28, 28, 1)
    assert (batch.images == 77).all()
    assert batch.sources[0].converted == "resized from 40x56, RGB to grey"


def test_a_model_of_three_channels_gets_colours() -> None:
    batch = read(png(np.full((28, 28), 9, np.uint8)), (28, 28, 3))
    assert batch.images.shape == (1, 28, 28, 3)
    assert batch.sources[0].converted == "grey to RGB"


def test_every_pixel_counts_when_an_image_shrinks() -> None:
    chequered = (np.indices((560, 560)).sum(axis=0) % 2 * 255).astype(np.uint8)
    shrunk = from_files([(None, png(chequered))], SHAPE, Settings()).images
    assert abs(shrunk.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(image: NDArray[np.uint8], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = png(image, exif=exif)
    with Image.open(io.BytesIO(content)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    batch = read(content)
    assert (batch.images[0, ..., 0] == upright).all()
    assert batch.sources[0].converted == (None if orientation == 1 else "turned upright")


# Pillow warns of the damage; pytest makes errors of warnings, the service does not.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_photo_with_damaged_notes_of_its_camera_is_taken() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ResolutionUnit] = 2
    content = png(np.full((28, 28), 77, np.uint8), "JPEG", exif=exif)
    damaged = content.replace(b"\x01\x28\x00\x03", b"\x01\x28\x00\x02")  # a number that says it is text
    assert damaged != content
    with Image.open(io.BytesIO(damaged)) as opened, pytest.raises(struct.error):
        ImageOps.exif_transpose(opened)
    batch = read(damaged)
    assert (batch.images == 77).all()
    assert batch.sources[0].converted == "turned upright"


@pytest.mark.parametrize(
    ("picture", "value", "converted"),
    [
        (Image.new("RGBA", (28, 28), (200, 200, 200, 0)), 0, "RGB to grey, transparent parts to black"),
        (Image.new("RGBA", (28, 28), (200, 200, 200, 255)), 200, "RGB to grey"),
        (Image.new("LA", (28, 28), (200, 51)), 40, "transparent parts to black"),
        (Image.new("1", (28, 28), 1), 255, "black and white to grey"),
        (Image.new("RGB", (28, 28), (90, 90, 90)).quantize(2), 90, "palette to grey"),
        (Image.fromarray(np.full((28, 28), 200 * 257, np.uint16)), 200, "16-bit grey to grey"),
        (Image.fromarray(np.full((28, 28), 65535, np.uint16)), 255, "16-bit grey to grey"),
        (Image.fromarray(np.full((28, 28), 2 * 257 - 1, np.uint16)), 1, "16-bit grey to grey"),
    ],
)
def test_every_kind_of_png_keeps_its_brightness(picture: Image.Image, value: int, converted: str) -> None:
    batch = read(png(picture))
    assert (batch.images == value).all()
    assert batch.sources[0].converted == converted


def test_a_cmyk_jpeg_is_taken() -> None:
    batch = read(png(Image.new("CMYK", (28, 28)), "JPEG"))
    assert (batch.images > 250).all()
    assert batch.sources[0].converted == "CMYK to grey"


def test_files_keep_their_order_and_names(image: NDArray[np.uint8]) -> None:
    batch = from_files([("b.png", png(image)), ("a.png", png(image.T))], SHAPE, LIMITS)
    assert (batch.images[..., 0] == [image, image.T]).all()
    assert [source.file for source in batch.sources] == ["b.png", "a.png"]


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_taken_as_png_and_jpeg_are(image: NDArray[np.uint8], kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    batch = read(png(image, kind, **options))
    assert (batch.images == image[None, ..., None]).all()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC, AVIF or video"),
        (b"<?xml?><svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04\x14\0", "a ZIP archive or an Office document"),
        (b"first line\nsecond line", 'text that begins with "first line s"'),
        (b"\0\1\2\3 who knows", "an unknown format"),
    ],
)
def test_formats_that_are_not_taken_are_refused_by_their_names(content: bytes, kind: str) -> None:
    with pytest.raises(InvalidImageError, match=rf"WebP or TIFF image\. Received: \d+ bytes of {kind}\.$"):
        read(content)


def test_text_that_is_named_png_is_refused_with_what_it_begins_with() -> None:
    with pytest.raises(
        InvalidImageError,
        match=r"^shoe\.png must be a PNG, .* image\. Received: 5 bytes of text that begins with \"hello\"\.$",
    ):
        from_files([("shoe.png", b"hello")], SHAPE, LIMITS)


def test_a_file_with_a_broken_head_is_refused_without_words_of_python(image: NDArray[np.uint8]) -> None:
    content = bytearray(png(image))
    content[30] ^= 0xFF  # in the checksum of the head
    with pytest.raises(InvalidImageError, match=r"bytes of PNG, broken or cut off \(its header is invalid\)\.$"):
        read(bytes(content))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(
        InvalidImageError, match=r"^shoe.png must be a PNG, JPEG, GIF, BMP, WebP or TIFF image\. Received: nothing\.$"
    ):
        from_files([("shoe.png", b"")], SHAPE, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = png(noise, kind)
    with pytest.raises(
        InvalidImageError, match=r"^The body must be a PNG, JPEG, GIF, BMP, WebP or TIFF image\. Received: "
    ):
        read(whole[: int(len(whole) * part)])


def test_a_broken_file_is_refused(image: NDArray[np.uint8]) -> None:
    content = bytearray(png(image))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(InvalidImageError, match=r"broken or cut off"):
        read(bytes(content))


def test_a_decompression_bomb_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", b"no pixels at all")):
        bomb += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    with pytest.raises(TooLargeError, match=r"at most 10000 pixels\. Received: 50000x50000, which is 2500000000\.$"):
        read(bomb)


def test_a_long_thin_image_within_the_limit_is_taken() -> None:
    assert read(png(np.zeros((1, 10_000), np.uint8))).sources[0].converted == "resized from 10000x1"


def test_after_the_deadline_nothing_more_is_decoded() -> None:
    broken = png(np.zeros((30, 30), np.uint8))[:-30]
    with pytest.raises(DeadlineError, match="longer to decode than a request may"):
        from_files([(None, broken)], SHAPE, LIMITS, deadline=time.monotonic() - 0.5)
    with pytest.raises(InvalidImageError, match="broken or cut off"):
        from_files([(None, broken)], SHAPE, LIMITS, deadline=time.monotonic() + 60)


def test_files_may_not_hold_more_pixels_of_the_model_than_a_body_may() -> None:
    with pytest.raises(TooLargeError, match=r"^A request may hold 2 image files of 28 x 28 x 1, .* Received: 3\.$"):
        from_files([(None, png(np.zeros((9, 9), np.uint8)))] * 3, SHAPE, replace(LIMITS, max_body_bytes=2000))


def test_an_image_of_just_the_allowed_size_is_taken() -> None:
    assert read(png(np.zeros((100, 100), np.uint8))).sources[0].converted == "resized from 100x100"
    with pytest.raises(TooLargeError):
        read(png(np.zeros((100, 101), np.uint8)))
