"""IDX files, the format of MNIST and its kin: read, checked, or refused with a reason.

Format: two zero bytes, a type code (8 = uint8), the number of dimensions, each dimension as a big-endian
uint32, then the values, the last dimension running fastest.
Source: the description that came with MNIST (LeCun, Cortes, Burges: "The MNIST database").
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from trainer.decoded import ImageFile

# The names that every set in MNIST's layout uses.
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}

_UINT8 = 0x08
CHUNK = 1000  # rows that are hashed at a time, so that any number of images fits into memory


class DataError(ValueError):
    """Data that cannot be used; the message names the file, what was expected and what came."""


def find(folder: Path, part: tuple[str, str]) -> Path | None:
    """The file of one part, compressed or not; None where the folder has neither."""
    candidates = [folder / (FILES[part] + suffix) for suffix in (".gz", "")]
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path, dimensions: int, sha256: str | None = None) -> np.ndarray:
    """Reads one IDX file of uint8 values, gzipped where its name ends in `.gz`.

    Args:
        path: the file.
        dimensions: 3 for images (n, height, width), 1 for labels (n,).
        sha256: expected SHA-256 of the decompressed content, in hexadecimal.

    Raises:
        DataError: the file is unreadable, damaged, cut short, or not what was expected.
    """
    content = _content(path)
    if sha256 and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(f"{path}: expected content with SHA-256 {sha256}, found {actual}. Fetch the file anew.")
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, _UINT8, dimensions]):
        raise DataError(
            f"{path}: expected an IDX header 0000{_UINT8:02x}{dimensions:02x} "
            f"(uint8, {dimensions} dimensions), found {content[:4].hex() or 'an empty file'}."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, np.uint8, offset=header)
    if values.size != np.prod(shape, dtype=np.int64):
        raise DataError(
            f"{path}: its header promises {shape} values, {values.size:,} follow. The file is damaged or cut short."
        )
    return values.reshape(shape)


def content_hash(values: np.ndarray | ImageFile) -> str:
    """SHA-256 of the IDX file that would hold these uint8 values; of one channel, without that dimension."""
    shape = values.shape[:-1] if len(values.shape) == 4 and values.shape[-1] == 1 else values.shape
    digest = hashlib.sha256(bytes([0, 0, _UINT8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape))
    for start in range(0, len(values), CHUNK):
        digest.update(np.ascontiguousarray(values[start : start + CHUNK], np.uint8).data)
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}). Fetch the file anew.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
