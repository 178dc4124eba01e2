"""Trainer and service decode every file to the same pixels, or both refuse it: some hundred odd files."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.errors import InvalidImageError
from serving.images.files import from_files
from serving.settings import Settings
from trainer.data import pictures
from trainer.data.dataset import DataError

CHANCE = np.random.default_rng(0)
SHAPES = [(28, 28, 1), (32, 20, 3)]
FORMATS = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "WEBP": ["L", "LA", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "CMYK", "YCbCr"],
}


def picture(mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> Image.Image:
    """Smooth enough that JPEG keeps it, and different in every corner and colour."""
    rough = CHANCE.integers(0, 256, (5, 6, 4), dtype=np.uint8)
    smooth = Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(smooth.convert("L")).astype(np.uint16) * 257 + 100)
    return smooth.convert("P").convert("PA") if mode == "PA" else smooth.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """EXIF with the orientation, and a resolution that lies behind its end."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    number = struct.pack(f"{order}HH" if kind == 3 else f"{order}I", orientation, *([0] if kind == 3 else []))
    entries = struct.pack(f"{order}HHI", 0x0112, kind, 1) + number
    entries += struct.pack(f"{order}HHII", 0x011A, 5, 1, 0xFFFF)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def without_palette(png: bytes) -> bytes:
    at = png.index(b"PLTE") - 4
    return png[:at] + png[at + 12 + struct.unpack_from(">I", png, at)[0] :]


def with_chunk(png: bytes, kind: bytes, data: bytes, before: bytes) -> bytes:
    at = png.index(before) - 4
    return png[:at] + chunk(kind, data) + png[at:]


def png_16_bits_of_colour() -> bytes:
    rows = b"".join(b"\0" + CHANCE.integers(0, 256, 40 * 6, dtype=np.uint8).tobytes() for _ in range(30))
    header = struct.pack(">IIBBBBB", 40, 30, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def odd_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A name, and what makes the file."""
    for kind, modes in FORMATS.items():
        for mode in modes:
            yield f"{kind} of {mode}", lambda kind=kind, mode=mode: saved(picture(mode), kind)
    for kind, orientation in product(("PNG", "JPEG", "WEBP"), range(10)):
        for order in "<>":
            yield (
                f"{kind} of orientation {orientation} {order}, the rest of EXIF damaged",
                lambda kind=kind, orientation=orientation, order=order: saved(
                    picture(), kind, exif=exif(orientation, order)
                ),
            )
    for orientation in range(1, 9):
        yield (
            f"TIFF of orientation {orientation}",
            lambda orientation=orientation: saved(picture("L"), "TIFF", tiffinfo={0x0112: orientation}),
        )
        yield (
            f"TIFF of LZW of orientation {orientation}",
            lambda orientation=orientation: saved(
                picture("L"), "TIFF", tiffinfo={0x0112: orientation}, compression="tiff_lzw"
            ),
        )
    yield "EXIF whose orientation is of another type", lambda: saved(picture(), "JPEG", exif=exif(6, kind=4))
    for cut in (6, 9, 14, 16, 20):
        yield f"EXIF that ends after {cut}", lambda cut=cut: saved(picture(), "JPEG", exif=exif(6)[:cut])
    yield "EXIF behind the pixels", lambda: with_chunk(saved(picture(), "PNG"), b"eXIf", exif(6)[6:], b"IEND")
    for size in ((1, 1), (1, 4000), (4000, 1), (2, 3000), (1023, 1025), (2050, 30), (28, 28), (20, 32), (27, 29)):
        for kind, mode in (("PNG", "RGBA"), ("JPEG", "RGB"), ("GIF", "P"), ("TIFF", "L"), ("BMP", "RGB")):
            yield (
                f"{kind} of {size[0]}x{size[1]}",
                lambda size=size, kind=kind, mode=mode: saved(picture(mode, size), kind),
            )
    for size in ((2047, 2048), (2200, 2300), (4200, 2100)):
        for kind, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {"compress_level": 0})):
            yield (
                f"{kind} of {size[0]}x{size[1]} {options} on its side",
                lambda size=size, kind=kind, options=options: saved(
                    picture("RGB", size), kind, exif=exif(6), **options
                ),
            )
    for quality, sampling in product((5, 95), (0, 1, 2)):
        yield (
            f"JPEG of quality {quality}, subsampling {sampling}",
            lambda quality=quality, sampling=sampling: saved(
                picture(), "JPEG", quality=quality, subsampling=sampling, progressive=quality == 5
            ),
        )
    for compression in ("packbits", "tiff_deflate", "tiff_adobe_deflate", "tiff_lzw", "jpeg", "lzma", "zstd"):
        yield (
            f"TIFF of {compression}",
            lambda compression=compression: saved(picture(), "TIFF", compression=compression),
        )
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield (
            f"TIFF of {compression}",
            lambda compression=compression: saved(picture("1"), "TIFF", compression=compression),
        )
    yield "TIFF of 32 bits", lambda: saved(Image.new("I", (30, 30), 70_000), "TIFF")
    yield "TIFF of fractions", lambda: saved(Image.new("F", (30, 30), 0.5), "TIFF")
    yield "TIFF of LAB", lambda: saved(Image.new("LAB", (30, 30), (120, 7, 9)), "TIFF")
    yield "big TIFF", lambda: saved(picture(), "TIFF", big_tiff=True)
    yield "PNG with 16 bits of each colour", png_16_bits_of_colour
    yield "palette with a transparent shade", lambda: saved(picture("P"), "PNG", transparency=3)
    yield "palette with many transparent shades", lambda: saved(picture("P"), "PNG", transparency=bytes(range(256)))
    yield "GIF with a transparent shade", lambda: saved(picture("P"), "GIF", transparency=3)
    yield "grey with a transparent shade", lambda: saved(picture("L"), "PNG", transparency=90)
    yield "colour with a transparent shade", lambda: saved(Image.new("RGB", (9, 9)), "PNG", transparency=(0, 0, 0))
    yield "16 bits with a transparent shade", lambda: saved(picture("I;16"), "PNG", transparency=90)
    for mode, name in product(("L", "P", "RGBA"), ("exif", "transparency")):
        yield (
            f"PNG of {mode} with a text called {name}",
            lambda mode=mode, name=name: with_chunk(
                saved(picture(mode), "PNG"), b"iTXt", name.encode() + bytes(5) + b"none", b"IEND"
            ),
        )
    yield (
        "PNG with transparency for more colours than a palette has",
        lambda: with_chunk(saved(picture("P"), "PNG"), b"tRNS", bytes(257), b"IDAT"),
    )
    yield "PNG without its palette", lambda: without_palette(saved(picture("P"), "PNG"))
    yield "PNG of 2 bits", lambda: saved(picture().quantize(4), "PNG", bits=2)
    yield "GIF that is not interlaced", lambda: saved(picture("P"), "GIF", interlace=0)
    for kind, mode in product(("GIF", "PNG", "WEBP", "TIFF"), ("RGB", "RGBA", "L")):
        yield (
            f"{kind} of frames of {mode}",
            lambda kind=kind, mode=mode: saved(
                picture(mode), kind, save_all=True, append_images=[picture(mode), picture(mode)]
            ),
        )
    yield (
        "GIF whose frame is smaller than its screen",
        lambda: b"GIF89a\x32\0\x28\0\x80\0\0\xff\0\0\0\0\xff" + b",\x05\0\x05\0\x02\0\x02\0\0\x02\x02\x84\x51\0;",
    )
    yield "WebP without loss", lambda: saved(picture("RGBA"), "WEBP", lossless=True)
    yield "two JPEGs in one", lambda: saved(picture(), "MPO", save_all=True, append_images=[picture()])
    yield "JPEG with something behind it", lambda: saved(picture(), "JPEG") + b"film" * 1000
    yield (
        "BMP of runs",
        lambda: (
            b"BM"
            + struct.pack("<IIIIiiHHIIIIII", 0, 0, 62, 40, 4, 1, 1, 8, 1, 4, 0, 0, 2, 0)
            + (bytes(8) + b"\x04\x01\0\x01")
        ),
    )
    yield (
        "BMP from top to bottom",
        lambda: (
            b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 2, -2, 1, 24, 0, 16, 0, 0, 0, 0) + bytes(range(16))
        ),
    )
    for kind in FORMATS:
        for part in (0.02, 0.4, 0.9):
            yield (
                f"{kind} cut off after {part}",
                lambda kind=kind, part=part: (lambda whole: whole[: int(part * len(whole))])(saved(picture(), kind)),
            )
    yield "nothing", bytes
    yield "text", lambda: b"not a picture"
    yield "HEIC", lambda: b"\0\0\0\x18ftypheic" + bytes(30)


FILES = dict(odd_files())
REFUSED = {
    "nothing",
    "text",
    "HEIC",
    "BMP of runs",
    "big TIFF",
    "PNG without its palette",
    "PNG with transparency for more colours than a palette has",
    *(f"PNG of {mode} with a text called {name}" for mode in ("L", "P", "RGBA") for name in ("exif", "transparency")),
    *(f"TIFF of {kind}" for kind in ("lzma", "zstd", "LAB", "32 bits", "fractions")),
}


def of_trainer(path: Path, shape: pictures.Shape) -> np.ndarray | None:
    try:
        return pictures.read(path, shape)
    except DataError:
        return None


def of_service(content: bytes, shape: pictures.Shape) -> np.ndarray | None:
    try:
        return from_files([("picture", content)], shape, Settings()).images[0]
    except InvalidImageError:
        return None


# Pillow warns of damage; pytest makes errors of warnings, trainer and service do not.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FILES)
def test_trainer_and_service_decode_a_file_to_the_same_pixels(name: str, tmp_path: Path) -> None:
    content = FILES[name]()
    path = tmp_path / "picture.jpg"  # whatever it is
    path.write_bytes(content)
    for shape in SHAPES:
        trained, served = of_trainer(path, shape), of_service(content, shape)
        if name in REFUSED or re.match(r"[A-Z]+ cut off", name):
            assert trained is served is None
        else:
            np.testing.assert_array_equal(trained, served)


def test_there_are_some_hundred_files() -> None:
    assert len(FILES) >= 200


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "corner"), [(1, 0), (2, 1), (3, 3), (4, 2), (5, 0), (6, 1), (7, 3), (8, 2)])
def test_a_picture_is_turned_upright(kind: str, orientation: int, corner: int, tmp_path: Path) -> None:
    """The picture is bright in its first corner as stored; the corners are numbered row by row."""
    stored = Image.new("L", (60, 40))
    stored.paste(255, (0, 0, 30, 20))
    options = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif(orientation)}
    path = tmp_path / "picture"
    path.write_bytes(saved(stored, kind, **options))
    trained = pictures.read(path, (20, 20, 1))
    assert int(np.argmax(trained.reshape(2, 10, 2, 10).mean(axis=(1, 3)))) == corner
