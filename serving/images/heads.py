"""Reads what an image file is and what decoding it will cost, so that hostile files are refused before decoding.

A few bytes can cause much work: a scan of a JPEG, a chunk of a PNG, a tag of a TIFF. Whatever costs Pillow, or the
libraries that it calls, time or memory is counted here. Sources: ITU-T T.81 annex B (JPEG), PNG specification,
GIF89a specification, TIFF 6.0, RFC 9649 (WebP); what is allocated was read off Pillow 13's sources and measured.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from serving.errors import InvalidImageError, TooLargeError

TAKEN = "PNG, JPEG, GIF, BMP, WebP or TIFF"
SCANS = 100  # of a JPEG; each visits all blocks, and encoders write about ten
SEGMENTS = 1000  # of a JPEG; 16 MiB of metadata are 256
EXIF_SEGMENTS = 8  # of a JPEG; Pillow joins them and creates an object for each number
CHUNKS = 20_000  # of a PNG or WebP; encoders put 8 KiB or more into one
TEXTS = 16  # compressed texts of a PNG, which Pillow inflates to at most 1 MiB each
SUB_BLOCKS = 10_000  # of a GIF before its first image
TAGS = 1000  # of a TIFF
NUMBERS = 200_000  # in a TIFF's tags, an object each; 16 megapixels in tiles of 16 x 16 need 131,072
BMP_COMPRESSIONS = {0, 3}
TIFF_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # none, three of CCITT, LZW, JPEG, deflate, PackBits, deflate

# Lossless WebP has up to 65,536 groups of Huffman codes, one for each 4 x 4 pixels, written in 20 bits or more each;
# libwebp 1.6 allocated 5.65 KiB for each. Longer codes have tables of up to twice the size, and take more of the file:
# 100 bytes for each of its bytes is an estimate.
WEBP_GROUPS = 65_536
WEBP_GROUP_BITS = 20
WEBP_GROUP_BYTES = 5800
WEBP_BYTES_FOR_BYTE = 100

_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")  # but those without a meaning: restarts, fillers, stuffed zeros
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_SCAN, _END = 0xDA, 0xD9
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes by type
_TIFF_NUMBERS = {3: "H", 4: "I", 13: "I"}  # types that sizes and places may have
_TIFF_TEXTS = {1, 2, 7}  # types that Pillow leaves as bytes
_TIFF_DIRECTORIES = (34665, 34853, 40965)  # tags that point to more tags which Pillow reads


@dataclass(frozen=True)
class Head:
    """What an image file says of itself.

    Attributes:
        format: as Pillow calls it.
        size: width and height.
        memory: an upper bound, in bytes, of what decoding its first frame allocates.
        reduction: the factor by which decoding shortens its sides; 1 but for large JPEG files.
    """

    format: str
    size: tuple[int, int]
    memory: int
    reduction: int = 1


def head(content: bytes, name: str, side: int) -> Head | None:
    """Read the head of an image file; None where it is of no format that is taken.

    Args:
        content: the file.
        name: what an error calls it.
        side: length in pixels down to which a JPEG's shorter side may be reduced by decoding.

    Raises:
        InvalidImageError: broken or cut off, or a variety of its format that is not taken.
        TooLargeError: more scans, chunks or the like than encoders write.
    """
    kind, read = next((each for beginning, each in _FORMATS.items() if content.startswith(beginning)), (None, None))
    if kind is None or read is None or (kind == "WEBP" and content[8:12] != b"WEBP"):
        return None
    try:
        found = read(_File(content, name, side))
    except (struct.error, IndexError, ZeroDivisionError):
        raise InvalidImageError(
            f"{name} must be a {TAKEN} image. Received: {len(content)} bytes of {kind}, broken or cut off."
        ) from None
    # Decoders also hold two rows, of at most 8 bytes a pixel.
    return replace(found, memory=found.memory + 16 * found.size[0])


def is_image(content: bytes) -> bool:
    """Whether the bytes begin as those of a format that is taken."""
    return content.startswith(tuple(_FORMATS))


@dataclass(frozen=True)
class _File:
    content: bytes
    name: str
    side: int

    def unpack(self, layout: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(layout, self.content, at)

    def at_most(self, most: int, count: int, what: str) -> None:
        if count > most:
            raise TooLargeError(f"{self.name} must have at most {most} {what}. Received: {count} or more.")

    def one_of(self, compressions: set[int], found: int, kind: str) -> None:
        if found not in compressions:
            raise InvalidImageError(
                f"{self.name} must have one of {kind}'s compressions {', '.join(map(str, sorted(compressions)))}. "
                f"Received: {found}."
            )


def _jpeg(file: _File) -> Head:
    content, at, segments, scans, exif, frame, whole = file.content, 2, 0, 0, 0, 0, True
    while marker := _MARKER.search(content, at):
        kind, at = marker[1][0], marker.end()
        # Pillow and libjpeg read past an end marker that comes before the first scan.
        if kind == _END and scans:
            break
        file.at_most(SEGMENTS, segments := segments + 1, "segments")
        if kind == _SCAN:
            file.at_most(SCANS, scans := scans + 1, "scans")
            whole = whole and content[at + 2] == content[frame + 7]
        elif kind in _FRAMES:
            frame, whole = at, kind not in _PROGRESSIVE
        elif content[at + 2 : at + 8] == b"Exif\0\0":
            file.at_most(EXIF_SEGMENTS, exif := exif + 1, "EXIF segments")
        at += file.unpack(">H", at)[0] if kind not in (0xD8, _END) else 0
    height, width, components = file.unpack(">HHB", frame + 3)
    if not frame or not components:
        raise IndexError
    scale = next(each for each in (8, 4, 2, 1) if each <= max(1, min(width, height) // file.side))
    memory = width * height * (1 if components == 1 else 4) // scale**2
    if not whole:  # then all coefficients are kept until the last scan, two bytes each
        factors = [divmod(content[frame + 9 + 3 * each], 16) for each in range(components)]
        most = max(across for across, _ in factors) * max(down for _, down in factors)
        share = sum(across * down for across, down in factors) / most
        memory += round(2 * share * (width + 63) * (height + 63))
    return Head("JPEG", (width, height), memory, scale)


def _png(file: _File) -> Head:
    width, height, depth, colour = file.unpack(">IIBB", 16)
    at, chunks, texts = 8, 0, 0
    while at + 8 <= len(file.content):
        length, kind = struct.unpack_from(">I4s", file.content, at)
        file.at_most(CHUNKS, chunks := chunks + 1, "chunks")
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            file.at_most(TEXTS, texts := texts + 1, "compressed texts")
        at += 12 + length
    depths = {0: depth / 8, 3: 1}  # others take four bytes whatever they are
    memory = width * height * max(1, round(depths.get(colour, 4))) + texts * 2**21
    return Head("PNG", (width, height), memory)


def _gif(file: _File) -> Head:
    width, height, flags = file.unpack("<HHB", 6)
    at, blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while file.content[at] != ord(","):
        if file.content[at] == ord("!"):
            at += 2
            while length := file.content[at]:
                file.at_most(SUB_BLOCKS, blocks := blocks + 1, "blocks before its image")
                at += 1 + length
        file.at_most(SUB_BLOCKS, blocks := blocks + 1, "blocks before its image")
        at += 1
    left, top, wide, high = file.unpack("<4H", at + 1)
    width, height = max(width, left + wide), max(height, top + high)
    return Head("GIF", (width, height), width * height)


def _bmp(file: _File) -> Head:
    if file.unpack("<I", 14) == (12,):
        width, height, _, bits = file.unpack("<4H", 18)
    else:
        width, height, _, bits, compression = file.unpack("<IiHHI", 18)
        height = abs(height)
        # Pillow decodes runs in Python, and allocates as many rows as one of them skips.
        file.one_of(BMP_COMPRESSIONS, compression, "BMP")
    return Head("BMP", (width, height), width * height * (1 if bits <= 8 else 4))


def _webp(file: _File) -> Head:
    content = file.content
    if content[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif content[12:16] == b"VP8L":
        (packed,) = file.unpack("<I", 21)
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        width, height = (length & 0x3FFF for length in file.unpack("<HH", 26))
    at, chunks, lossless = 12, 0, 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        file.at_most(CHUNKS, chunks := chunks + 1, "chunks")
        if kind in (b"VP8L", b"ALPH"):
            lossless = max(lossless, min(length, len(content)))
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # of a frame, the chunks follow
    # Two canvases, the frame's bytes and the image itself, and of lossless ones the frame; the file is copied twice.
    memory = (20 if lossless else 16) * width * height + 2 * len(content)
    groups = min(WEBP_GROUPS, width * height // 16, 8 * lossless // WEBP_GROUP_BITS)
    memory += groups * WEBP_GROUP_BYTES + min(groups * WEBP_GROUP_BYTES, WEBP_BYTES_FOR_BYTE * lossless)
    return Head("WEBP", (width, height), memory)


def _tiff(file: _File) -> Head:
    order = "<" if file.content[:2] == b"II" else ">"
    tags = _tags(file, order, file.unpack(f"{order}I", 4)[0])
    for pointer in _TIFF_DIRECTORIES:
        if pointer in tags:
            _tags(file, order, _numbers(file, order, tags, pointer)[0])

    def number(tag: int, default: int) -> int:
        return _numbers(file, order, tags, tag, default)[0]

    width, height, samples = number(256, 0), number(257, 0), number(277, 1)
    file.one_of(TIFF_COMPRESSIONS, compression := number(259, 1), "TIFF")
    tiled = 324 in tags
    across, down = (number(322, width), number(323, height)) if tiled else (width, min(height, number(278, height)))
    pieces = -(-width // across) * -(-height // down) * (samples if number(284, 1) == 2 else 1)
    what = "tiles" if tiled else "strips"
    file.at_most(pieces, len(_numbers(file, order, tags, 324 if tiled else 273)), what)
    # Overlapping strips would be decompressed again and again.
    if sum(_numbers(file, order, tags, 325 if tiled else 279)) > len(file.content):
        raise IndexError
    bits = samples * max(_numbers(file, order, tags, 258, 1))
    # libtiff decodes one piece after the other, and YCbCr into colours.
    piece = 0 if compression == 1 else across * down * (bits / 8 + (4 if number(262, 0) == 6 else 0))
    bytes_of_pixel = 4 if samples > 1 else -(-bits // 8)
    return Head("TIFF", (width, height), width * height * bytes_of_pixel + round(piece))


Tags = dict[int, tuple[int, int, int]]  # type, count and place of a tag's values


def _tags(file: _File, order: str, at: int) -> Tags:
    (count,) = file.unpack(f"{order}H", at)
    file.at_most(TAGS, count, "tags")
    tags: Tags = {}
    numbers = 0
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, place = file.unpack(f"{order}HHII", entry)
        file.at_most(NUMBERS, numbers := numbers + (0 if kind in _TIFF_TEXTS else values), "numbers in its tags")
        if tag in tags:
            raise IndexError  # readers differ in which of two they take
        within = _TIFF_SIZES.get(kind, 1) * values <= 4
        tags[tag] = kind, values, entry + 8 if within else place
    return tags


def _numbers(file: _File, order: str, tags: Tags, tag: int, *default: int) -> tuple[int, ...]:
    if tag not in tags:
        return default
    kind, count, at = tags[tag]
    if kind not in _TIFF_NUMBERS or not count:
        raise IndexError
    return file.unpack(f"{order}{count}{_TIFF_NUMBERS[kind]}", at)


_FORMATS: dict[bytes, tuple[str, Callable[[_File], Head]]] = {
    b"\xff\xd8\xff": ("JPEG", _jpeg),
    b"\x89PNG\r\n\x1a\n": ("PNG", _png),
    b"GIF87a": ("GIF", _gif),
    b"GIF89a": ("GIF", _gif),
    b"BM": ("BMP", _bmp),
    b"RIFF": ("WEBP", _webp),
    b"II*\0": ("TIFF", _tiff),
    b"MM\0*": ("TIFF", _tiff),
}
