"""Files that would cost far more than their size are refused before they are decoded; ordinary ones are taken."""

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.errors import InvalidImageError, TooLargeError
from serving.images.files import from_files
from serving.settings import Settings
from tests.serving import hostile

SHAPE = (28, 28, 1)


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_hostile_file_is_refused_before_it_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, sentence = hostile.FILES[name]
    content = make()
    assert len(content) < 2**20

    def decoded(*_: Any, **__: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image, "open", decoded)
    with pytest.raises((InvalidImageError, TooLargeError)) as caught:
        from_files([("file", content)], SHAPE, Settings())
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


def test_scans_are_counted_however_they_are_hidden() -> None:
    content = hostile.jpeg_of_scans(64, 5000)
    filled = content.replace(b"\xff\xda", b"\xff\xff\xff\xff\xda")
    behind_an_end = b"\xff\xd8\xff\xd9" + content
    behind_metadata = content[:2] + b"\xff\xe2\0\x06\xff\xd9\xff\xda" + content[2:]
    for each in (filled, behind_an_end, behind_metadata):
        with pytest.raises(TooLargeError, match="at most 100 scans"):
            from_files([("file", each)], SHAPE, Settings())


def test_what_lies_behind_a_jpeg_or_in_its_metadata_is_not_counted() -> None:
    """As phones append a film, and cameras write a thumbnail and a maker's notes."""
    photo = hostile.saved(Image.new("RGB", (90, 90), "red"), "JPEG", progressive=True)
    noise = np.random.default_rng(0).integers(0, 256, 2**22, dtype=np.uint8).tobytes() + b"\xff\xda" * 500
    notes = b"\xff\xeb" + struct.pack(">H", 60_002) + (b"\xff\xda\0\x08" * 15_000)
    from_files([("file", photo[:2] + notes * 20 + photo[2:] + noise)], SHAPE, Settings())


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
        ("RGB", "JPEG", {"restart_marker_blocks": 1}),
        ("RGBA", "PNG", {"compress_level": 0}),
        ("RGB", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("P", "GIF", {}),
        ("RGB", "BMP", {}),
    ],
)
def test_an_ordinary_file_of_some_megapixels_is_taken(mode: str, kind: str, options: dict[str, Any]) -> None:
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    content = hostile.saved(rough.resize((2400, 1800)).convert(mode), kind, **options)
    from_files([("file", content)], SHAPE, Settings())


def test_a_cut_out_product_of_a_shop_is_taken_as_webp() -> None:
    picture = Image.new("RGBA", (1200, 1200))
    thing = Image.effect_noise((600, 600), 40).convert("RGB")
    picture.paste(thing, (300, 300))
    from_files([("file", hostile.saved(picture, "WEBP"))], SHAPE, Settings())


def test_a_file_that_tells_two_sizes_is_refused() -> None:
    content = bytearray(hostile.saved(Image.new("RGB", (90, 90)), "WEBP"))
    canvas = (29).to_bytes(3, "little") * 2
    body = b"VP8X" + struct.pack("<II", 10, 0) + canvas + bytes(content[12:])
    with pytest.raises(InvalidImageError):
        from_files([("file", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)], SHAPE, Settings())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"progressive": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("P", "PNG", {"transparency": 3}),
        ("P", "GIF", {"comment": b"a remark"}),
        ("P", "BMP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("L", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("L", "TIFF", {}),
    ],
)
def test_damaged_files_are_taken_or_refused_in_a_sentence(mode: str, kind: str, options: dict[str, Any]) -> None:
    chance = np.random.default_rng(0)
    whole = hostile.saved(Image.effect_noise((20, 30), 60).convert(mode), kind, **options)
    for _ in range(500):
        damaged = np.frombuffer(whole, np.uint8).copy()
        # Mostly in the head, of which every byte means something.
        most = len(whole) if chance.random() < 0.3 else min(len(whole), 120)
        places = chance.integers(0, most, chance.integers(1, 4))
        damaged[places] = chance.choice([0, 1, 127, 255, chance.integers(256)], len(places))
        with suppress(InvalidImageError, TooLargeError):
            from_files([("file", damaged.tobytes())], SHAPE, Settings(max_image_pixels=10**6))
