"""Small image files that would cost much time or memory, several for each format."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG with further scans that hold no data, yet make a decoder visit all blocks."""
    whole = saved(Image.new("L", (side, side), 30), "JPEG", progressive=True, quality=50)
    scan = b"\xff\xda" + struct.pack(">H", 8) + bytes([1, 1, 0x00, 1, 63, 0x00])
    return whole[:-2] + scan * scans + whole[-2:]


def jpeg_with_segments(segment: bytes, count: int) -> bytes:
    whole = saved(Image.new("L", (9, 9)), "JPEG")
    return whole[:2] + segment * count + whole[2:]


def png_with_chunks(kind: bytes, data: bytes, count: int) -> bytes:
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    whole = saved(Image.new("L", (9, 9)), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + chunk * count + whole[at:]


def gif_with_comments(count: int) -> bytes:
    whole = saved(Image.new("L", (9, 9)), "GIF")
    at = whole.index(b",", 13 + 3 * 2)
    return whole[:at] + b"!\xfe" + b"\x01x" * count + b"\0" + whole[at:]


def bmp_of_runs() -> bytes:
    """A run-length coded BMP, in which four bytes skip 255 rows of 16 million pixels."""
    head = struct.pack("<IIIIiiHHIIIIII", 0, 0, 62, 40, 2**24, 1, 1, 8, 1, 4, 0, 0, 2, 0)
    return b"BM" + head + bytes(8) + b"\0\x02\0\xff"


def tiff(entries: list[tuple[int, int, int, int]]) -> bytes:
    """A TIFF of 9 x 9 pixels with these further entries: tag, type, count, value or place."""
    basis = {256: (3, 1, 9), 257: (3, 1, 9), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    every = basis | {tag: rest for tag, *rest in entries}
    packed = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(every.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(every)) + packed + bytes(4) + bytes(1000)


class _Bits:
    """Bits as lossless WebP packs them, the lowest first."""

    def __init__(self) -> None:
        self._value = self._count = 0
        self.packed = bytearray()

    def put(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count
        while self._count >= 8:
            self.packed.append(self._value & 255)
            self._value >>= 8
            self._count -= 8

    def code_of_one(self) -> None:
        """A Huffman code of a single symbol, which then takes no bit."""
        self.put(0b0001, 4)

    def code_of_bytes(self, alphabet: int) -> None:
        """A Huffman code that gives eight bits to each of the first 256 symbols of an alphabet."""
        self.put(0, 1)
        self.put(12 - 4, 4)
        for symbol in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8):  # the order in which lengths of lengths come
            self.put(symbol in (8, 18), 3)
        self.put(0, 1)
        self.put(0, 256)
        if alphabet > 256:
            self.put(1, 1)
            self.put(alphabet - 256 - 11, 7)


def webp_of_groups(side: int, groups: int) -> bytes:
    """A lossless WebP in which each 4 x 4 pixels have a group of five Huffman codes of their own (RFC 9649)."""
    bits = _Bits()
    for value, count in ((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4), (0, 2), (1, 1), (0, 3), (0, 1)):
        bits.put(value, count)
    bits.code_of_bytes(256 + 24)  # green
    bits.code_of_bytes(256)  # red
    for _ in range(3):
        bits.code_of_one()
    for place in range((-(-side // 4)) ** 2):
        for byte in reversed(divmod(place % groups, 256)):
            bits.put(int(f"{byte:08b}"[::-1], 2), 8)
    for _ in range(5 * groups):
        bits.code_of_one()
    bits.put(0, 15)
    data = bytes(bits.packed) + bytes(len(bits.packed) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def webp_of_chunks(count: int) -> bytes:
    whole = saved(Image.new("RGB", (9, 9)), "WEBP")
    return whole + (b"JUNK" + bytes(4)) * count


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG of scans": (lambda: jpeg_of_scans(64, 5000), "at most 100 scans"),
    "JPEG of empty segments": (lambda: jpeg_with_segments(b"\xff\xe3\0\x02", 4000), "at most 1000 segments"),
    "JPEG of EXIF": (lambda: jpeg_with_segments(b"\xff\xe1\0\x08Exif\0\0", 9), "at most 8 EXIF segments"),
    "PNG of chunks": (lambda: png_with_chunks(b"teSt", b"", 20_000), "at most 20000 chunks"),
    "PNG of texts": (lambda: png_with_chunks(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)), 17), "at most 16 compre"),
    "GIF of comments": (lambda: gif_with_comments(10_001), "at most 10000 blocks before its image"),
    "BMP of runs": (bmp_of_runs, "one of BMP's compressions 0, 3. Received: 1."),
    "TIFF of tags": (lambda: b"II*\0" + struct.pack("<IH", 8, 1001) + bytes(13_000), "at most 1000 tags"),
    "TIFF of numbers": (lambda: tiff([(258, 3, 200_001, 8)]), "at most 200000 numbers in its tags"),
    "TIFF of numbers in EXIF": (
        lambda: tiff([(34665, 4, 1, 200)])[:200] + struct.pack("<HHHIII", 1, 1, 3, 200_001, 8, 0) + bytes(900),
        "at most 200000 numbers in its tags",
    ),
    "TIFF of strips on one another": (
        lambda: tiff([(273, 4, 9, 300), (278, 3, 1, 1), (279, 4, 9, 400)])[:400] + struct.pack("<9I", *[900] * 9),
        "broken or cut off",
    ),
    "TIFF of more strips than it has rows": (
        lambda: tiff([(259, 3, 1, 1), (273, 4, 10, 300), (278, 3, 1, 1), (279, 4, 9, 400)]),
        "at most 9 strips",
    ),
    "TIFF of many strips in bytes": (
        lambda: tiff([(259, 3, 1, 1), (273, 1, 200_000, 8), (278, 3, 1, 8)]) + bytes(200_000),
        "broken or cut off",
    ),
    "TIFF that tells its strips twice": (
        lambda: tiff([(259, 3, 1, 1), (273, 4, 1, 8), (274, 4, 900, 8), (278, 3, 1, 9)]).replace(
            struct.pack("<H", 274), struct.pack("<H", 273)
        ),
        "broken or cut off",
    ),
    "TIFF of a huge tile": (
        lambda: tiff([(322, 4, 1, 65520), (323, 4, 1, 65520), (324, 4, 1, 300), (325, 4, 1, 4)]),
        "must be decoded within 100663296 bytes of memory",
    ),
    "WebP of Huffman codes": (lambda: webp_of_groups(600, 20_000), "must be decoded within 100663296 bytes of memory"),
    "WebP of chunks": (lambda: webp_of_chunks(20_000), "at most 20000 chunks"),
}
