"""Reads what an image file is and what decoding it will cost, so that hostile files are refused before decoding.

A few bytes can cause much work: a scan of a JPEG, a chunk of a PNG, a tag of a TIFF. Whatever costs Pillow, or the
libraries that it calls, time or memory is counted here. Sources: ITU-T T.81 annex B (JPEG), PNG specification,
GIF89a specification, RFC 9649 (WebP); what is allocated was read off Pillow 13's sources and measured.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from decoding import tiff
from decoding.errors import TAKEN, ImageFileError, at_most, broken, one_of

SCANS = 100  # of a JPEG; each visits all blocks, and encoders write about ten
SEGMENTS = 1000  # of a JPEG; 16 MiB of metadata are 256
EXIF_SEGMENTS = 8  # of a JPEG; Pillow joins them and creates an object for each number
CHUNKS = 20_000  # of a PNG or WebP; encoders put 8 KiB or more into one
TEXTS = 16  # compressed texts of a PNG, which Pillow inflates to at most 1 MiB each
SUB_BLOCKS = 10_000  # of a GIF before its first image
BMP_COMPRESSIONS = {0, 3}
# Formats that people send, and that the error names.
OTHERS = {b"%PDF": "PDF", b"II+\0": "BigTIFF", b"MM\0+": "BigTIFF", b"PK\3\4": "a ZIP archive or an Office document"}

# Lossless WebP has up to 65,536 groups of Huffman codes, one for each 4 x 4 pixels, written in 20 bits or more each;
# libwebp 1.6 allocated 5.65 KiB for each. Longer codes have tables of up to twice the size, and take more of the file:
# 100 bytes for each of its bytes is an estimate.
WEBP_GROUPS = 65_536
WEBP_GROUP_BITS = 20
WEBP_GROUP_BYTES = 5800
WEBP_BYTES_FOR_BYTE = 100

_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")  # but those without a meaning: restarts, fillers, stuffed zeros
_TEXT = re.compile(rb"[\t\r\n -~]+")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_SCAN, _END = 0xDA, 0xD9


@dataclass(frozen=True)
class Head:
    """What an image file says of itself.

    Attributes:
        format: as Pillow calls it.
        size: width and height.
        memory: an upper bound, in bytes, of what decoding its first frame allocates, but for a row or two.
        reduction: the factor by which decoding shortens its sides; 1 but for large JPEG files.
    """

    format: str
    size: tuple[int, int]
    memory: int
    reduction: int = 1


def format_of(content: bytes) -> str | None:
    """The format of a file, as Pillow calls it, by its first 12 bytes; None for a format that is not read."""
    kind = next((kind for beginning, kind in _BEGINNINGS.items() if content.startswith(beginning)), None)
    return None if kind == "WEBP" and content[8:12] != b"WEBP" else kind


def head(content: bytes, side: int) -> Head:
    """Read the head of an image file.

    Args:
        content: the file.
        side: length in pixels down to which a JPEG's shorter side may be reduced by decoding.

    Raises:
        ImageFileError: empty, broken or cut off, or of a format or a variety of one that is not read.
        CostlyFileError: more scans, chunks or the like than encoders write.
    """
    if (kind := format_of(content)) is None:
        raise ImageFileError(f"must be a {TAKEN} image. Received: {_described(content)}.")
    try:
        return _jpeg(content, side) if kind == "JPEG" else _READERS[kind](content)
    except (struct.error, IndexError, ZeroDivisionError):
        raise broken(content, kind) from None


def _described(content: bytes) -> str:
    """Content of a format that is not read, as far as its beginning tells what it is."""
    if not content:
        return "nothing"
    kind = next((kind for begin, kind in OTHERS.items() if content.startswith(begin)), None)
    if content[4:8] == b"ftyp":
        kind = "HEIC, AVIF or video"
    elif b"<svg" in content[:1000]:
        kind = "SVG"
    elif not kind and _TEXT.fullmatch(content[:12]):
        kind = f'text that begins with "{" ".join(content[:12].decode().split())}"'
    return f"{len(content)} bytes of {kind or 'an unknown format'}"


def _jpeg(content: bytes, side: int) -> Head:
    at, segments, scans, exif, frame, whole = 2, 0, 0, 0, 0, True
    while marker := _MARKER.search(content, at):
        kind, at = marker[1][0], marker.end()
        # Pillow and libjpeg read past an end marker that comes before the first scan.
        if kind == _END and scans:
            break
        at_most(SEGMENTS, segments := segments + 1, "segments")
        if kind == _SCAN:
            at_most(SCANS, scans := scans + 1, "scans")
            whole = whole and content[at + 2] == content[frame + 7]
        elif kind in _FRAMES:
            frame, whole = at, kind not in _PROGRESSIVE
        elif content[at + 2 : at + 8] == b"Exif\0\0":
            at_most(EXIF_SEGMENTS, exif := exif + 1, "EXIF segments")
        at += struct.unpack_from(">H", content, at)[0] if kind not in (0xD8, _END) else 0
    height, width, components = struct.unpack_from(">HHB", content, frame + 3)
    if not frame or not components:
        raise IndexError
    scale = next(each for each in (8, 4, 2, 1) if each <= max(1, min(width, height) // side))
    memory = width * height * (1 if components == 1 else 4) // scale**2
    if not whole:  # then all coefficients are kept until the last scan, two bytes each
        factors = [divmod(content[frame + 9 + 3 * each], 16) for each in range(components)]
        most = max(across for across, _ in factors) * max(down for _, down in factors)
        share = sum(across * down for across, down in factors) / most
        memory += round(2 * share * (width + 63) * (height + 63))
    return Head("JPEG", (width, height), memory, scale)


def _png(content: bytes) -> Head:
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    at, chunks, texts = 8, 0, 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        at_most(CHUNKS, chunks := chunks + 1, "chunks")
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            at_most(TEXTS, texts := texts + 1, "compressed texts")
        at += 12 + length
    depths = {0: depth / 8, 3: 1}  # others take four bytes whatever they are
    memory = width * height * max(1, round(depths.get(colour, 4))) + texts * 2**21
    return Head("PNG", (width, height), memory)


def _gif(content: bytes) -> Head:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at, blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while content[at] != ord(","):
        if content[at] == ord("!"):
            at += 2
            while length := content[at]:
                at_most(SUB_BLOCKS, blocks := blocks + 1, "blocks before its image")
                at += 1 + length
        at_most(SUB_BLOCKS, blocks := blocks + 1, "blocks before its image")
        at += 1
    left, top, wide, high = struct.unpack_from("<4H", content, at + 1)
    width, height = max(width, left + wide), max(height, top + high)
    return Head("GIF", (width, height), width * height)


def _bmp(content: bytes) -> Head:
    if struct.unpack_from("<I", content, 14) == (12,):
        width, height, _, bits = struct.unpack_from("<4H", content, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", content, 18)
        height = abs(height)
        # Pillow decodes runs in Python, and allocates as many rows as one of them skips.
        one_of(BMP_COMPRESSIONS, compression, "BMP")
    return Head("BMP", (width, height), width * height * (1 if bits <= 8 else 4))


def _webp(content: bytes) -> Head:
    if content[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif content[12:16] == b"VP8L":
        (packed,) = struct.unpack_from("<I", content, 21)
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        width, height = (length & 0x3FFF for length in struct.unpack_from("<HH", content, 26))
    at, chunks, lossless = 12, 0, 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        at_most(CHUNKS, chunks := chunks + 1, "chunks")
        if kind in (b"VP8L", b"ALPH"):
            lossless = max(lossless, min(length, len(content)))
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # of a frame, the chunks follow
    # Two canvases, the frame's bytes and the image itself, and of lossless ones the frame; the file is copied twice.
    memory = (20 if lossless else 16) * width * height + 2 * len(content)
    groups = min(WEBP_GROUPS, width * height // 16, 8 * lossless // WEBP_GROUP_BITS)
    memory += groups * WEBP_GROUP_BYTES + min(groups * WEBP_GROUP_BYTES, WEBP_BYTES_FOR_BYTE * lossless)
    return Head("WEBP", (width, height), memory)


_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_READERS: dict[str, Callable[[bytes], Head]] = {
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": lambda content: Head("TIFF", *tiff.size_and_memory(content)),
}
