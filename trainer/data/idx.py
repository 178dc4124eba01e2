"""IDX files, the format of MNIST and sets like it: read, checked, or refused with a reason.

Format: two zero bytes, a type code (8 = uint8), the number of dimensions, each dimension as a big-endian
uint32, then the values, the last dimension running fastest.
Source: the description that came with MNIST (LeCun, Cortes, Burges: "The MNIST database").
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

import numpy as np

from trainer.data.dataset import DataError, Decoded, Split, class_names, listed

Part = tuple[str, str]  # the split and the kind of values

# The names that MNIST gave its files.
FILES: dict[Part, str] = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}

# The same as EMNIST (emnist-letters-test-images-idx3-ubyte) and Kaggle (t10k-images.idx3-ubyte) write them.
_FILE = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<split>train|test|t10k)[-_.](?P<kind>images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?", re.I
)
_UINT8 = 0x08

# EMNIST's files only number their classes. Source: the mapping files that come with G. Cohen et al., "EMNIST:
# Extending MNIST to handwritten letters" (2017).
_MERGED = (*digits, *ascii_uppercase, *"abdefghnqrt")  # the other lower-case letters look like their capitals
EMNIST_CLASSES: dict[str, tuple[str, ...]] = {
    "byclass": (*digits, *ascii_uppercase, *ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": ("unused", *ascii_uppercase),  # its labels begin with 1
    "digits": tuple(digits),
    "mnist": tuple(digits),
}
GZIP = b"\x1f\x8b"  # how a compressed file begins; browsers unpack files and leave .gz in their names


def find(folder: Path) -> tuple[str, dict[Part, Path]]:
    """The four files of a set, compressed or not, and what stands before the split in their names.

    Raises:
        DataError: there are not four files of one set; the message lists what there is.
    """
    sets: dict[str, dict[Part, Path]] = {}
    for path in _files(folder):
        if match := _FILE.fullmatch(path.name):
            part = ("train" if match["split"].lower() == "train" else "test", match["kind"].lower())
            sets.setdefault(match["set"].lower(), {}).setdefault(part, path)
    whole = [name for name, files in sets.items() if len(files) == len(FILES)]
    if len(whole) == 1:
        return whole[0], {part: sets[whole[0]][part] for part in FILES}
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with four IDX files; there is none.")
    found = listed(sorted(path.name for path in folder.iterdir()))
    raise DataError(
        f"{folder}: expected the four IDX files of one set, called {', '.join(FILES.values())} or as EMNIST and Kaggle "
        f"call them, each with .gz or without; found {found or 'nothing'}."
    )


def load(folder: Path) -> Decoded:
    """A set in MNIST's layout; class names from `classes.txt`, one a line, where there is one.

    Raises:
        DataError: files are missing, damaged, or do not belong together.
    """
    prefix, files = find(folder)
    arrays = read_all(files)
    for split in ("train", "test"):
        images, labels = len(arrays[split, "images"]), len(arrays[split, "labels"])
        if images != labels or not images:
            raise DataError(
                f"{folder}: expected a label for each image, found {images} {split} images, {labels} labels."
            )
    if arrays["train", "images"].shape[1:] != arrays["test", "images"].shape[1:]:
        shapes = sorted({arrays[split, "images"].shape[1:] for split in ("train", "test")})
        raise DataError(f"{folder}: expected training and test images of one size, found {shapes}.")
    upright = emnist_upright if prefix.startswith("emnist") else np.asarray
    splits = {
        split: Split(upright(arrays[split, "images"])[..., None], arrays[split, "labels"].astype(np.int64))
        for split in ("train", "test")
    }
    highest = max(int(split.labels.max()) for split in splits.values())
    return Decoded(f"IDX files in {folder}", _classes(folder / "classes.txt", prefix, highest + 1), splits)


def emnist_upright(images: np.ndarray) -> np.ndarray:
    """EMNIST's images, (n, height, width, ...), which its files hold transposed, as people read them."""
    return images.swapaxes(1, 2)


def read_all(files: Mapping[Part, Path]) -> dict[Part, np.ndarray]:
    """The images (n, height, width) and labels (n,) of the four files of a set."""
    return {part: read(path, 3 if part[1] == "images" else 1) for part, path in files.items()}


def read(path: Path, dimensions: int) -> np.ndarray:
    """Reads one IDX file of uint8 values, compressed by gzip or not.

    Args:
        path: the file.
        dimensions: 3 for images (n, height, width), 1 for labels (n,).

    Raises:
        DataError: the file is unreadable, damaged, cut short, or not what was expected.
    """
    content = _content(path)
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


def _files(folder: Path) -> list[Path]:
    """The files of a folder; Kaggle puts each into a folder of its own name."""
    inside = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []  # NAME.gz before NAME
    nested = [path / path.name for path in inside if path.is_dir()]
    return [path for path in (*inside, *nested) if path.is_file()]


def _classes(path: Path, prefix: str, count: int) -> tuple[str, ...]:
    """The class names from the file, else EMNIST's where it is one of its sets, else numbers."""
    if not path.is_file():
        known = EMNIST_CLASSES.get(prefix.removeprefix("emnist").strip("-_."), ())
        return known if prefix.startswith("emnist") and len(known) >= count else tuple(map(str, range(count)))
    names = class_names(path)
    if len(names) < count:
        raise DataError(f"{path}: expected at least {count} class names, found {len(names)}.")
    return names


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}). Fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
