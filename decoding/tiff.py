"""Reads the head of a TIFF: its size, and what decoding it will cost. Source: TIFF 6.0."""

import struct

from decoding.errors import at_most, one_of

TAGS = 1000
NUMBERS = 200_000  # in the tags, an object each; 16 megapixels in tiles of 16 x 16 need 131,072
COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # none, three of CCITT, LZW, JPEG, deflate, PackBits, deflate

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes by type
_INTEGERS = {3: "H", 4: "I", 13: "I"}  # types that sizes and places may have
_TEXTS = {1, 2, 7}  # types that Pillow leaves as bytes
_DIRECTORIES = (34665, 34853, 40965)  # tags that point to more tags which Pillow reads

Tags = dict[int, tuple[int, int, int]]  # type, count and place of a tag's values


def size_and_memory(content: bytes) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and a bound of the bytes that decoding allocates; raises as `heads.head` catches."""
    order = "<" if content[:2] == b"II" else ">"
    tags = _tags(content, order, struct.unpack_from(f"{order}I", content, 4)[0])
    for pointer in _DIRECTORIES:
        if pointer in tags:
            _tags(content, order, _numbers(content, order, tags, pointer)[0])

    def number(tag: int, default: int) -> int:
        return _numbers(content, order, tags, tag, default)[0]

    width, height, samples = number(256, 0), number(257, 0), number(277, 1)
    one_of(COMPRESSIONS, compression := number(259, 1), "TIFF")
    tiled = 324 in tags
    across, down = (number(322, width), number(323, height)) if tiled else (width, min(height, number(278, height)))
    pieces = -(-width // across) * -(-height // down) * (samples if number(284, 1) == 2 else 1)
    what = "tiles" if tiled else "strips"
    at_most(pieces, len(_numbers(content, order, tags, 324 if tiled else 273)), what)
    # Overlapping strips would be decompressed again and again.
    if sum(_numbers(content, order, tags, 325 if tiled else 279)) > len(content):
        raise IndexError
    bits = samples * max(_numbers(content, order, tags, 258, 1))
    # libtiff decodes one piece after the other, and YCbCr into colours.
    piece = 0 if compression == 1 else across * down * (bits / 8 + (4 if number(262, 0) == 6 else 0))
    bytes_of_pixel = 4 if samples > 1 else -(-bits // 8)
    return (width, height), width * height * bytes_of_pixel + round(piece)


def _tags(content: bytes, order: str, at: int) -> Tags:
    (count,) = struct.unpack_from(f"{order}H", content, at)
    at_most(TAGS, count, "tags")
    tags: Tags = {}
    numbers = 0
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, place = struct.unpack_from(f"{order}HHII", content, entry)
        at_most(NUMBERS, numbers := numbers + (0 if kind in _TEXTS else values), "numbers in its tags")
        if tag in tags:
            raise IndexError  # readers differ in which of two they take
        within = _SIZES.get(kind, 1) * values <= 4
        tags[tag] = kind, values, entry + 8 if within else place
    return tags


def _numbers(content: bytes, order: str, tags: Tags, tag: int, *default: int) -> tuple[int, ...]:
    if tag not in tags:
        return default
    kind, count, at = tags[tag]
    if kind not in _INTEGERS or not count:
        raise IndexError
    return struct.unpack_from(f"{order}{count}{_INTEGERS[kind]}", content, at)
