"""Decoded images on disk: written once, then held as one array, or read batch by batch where they are too many.

A folder holds `train` and `test` images and labels as .npy files, and `about.json`; it is whole once it has its name.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

SPLITS = ("train", "test")
STAGED = ".decoded-"
FORMAT = 2  # grows when decoding gives other images, labels or class names than before
ABANDONED_SECONDS = 24 * 3600
# Decoded images beyond so many bytes are read from disk while training. Fashion-MNIST has 55 million.
MEMORY_LIMIT = 512 * 2**20
# Pixel values that are processed together, so that memory stays bounded whatever the images' size.
VALUES_AT_ONCE = 2**20

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]


class ImageFile:
    """Images in a .npy file, or some of them, of which only what is asked for is read.

    Not a memory map: pages of a map count as the process's own memory until the system wants them back. The file may
    be removed meanwhile: it is open until the last object that reads it is gone.

    Attributes:
        shape: as of the array, (n, height, width, channels).
        dtype: uint8.
        offset: where in the file the first image of all begins.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            whole, _, self.dtype = np.lib.format.read_array_header_1_0(file)
            self._path, self.offset, self._shape = path, file.tell(), whole[1:]
        self._chosen = np.arange(whole[0])

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._shape)

    def __getitem__(self, part: Any) -> Any:
        """A slice or an array of bool gives another `ImageFile`; a number or an array of numbers reads those images."""
        chosen = self._chosen[part]
        if isinstance(part, slice) or np.asarray(part).dtype == bool:
            some = copy.copy(self)
            some._file, some._chosen = os.dup(self._file), chosen
            return some
        return self._read(chosen) if chosen.ndim else self._read(chosen[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._read(self._chosen).astype(dtype or self.dtype, copy=False)

    def _read(self, chosen: np.ndarray) -> np.ndarray:
        content = np.empty((len(chosen), *self._shape), np.uint8)
        # Neighbours in the file are read together.
        starts = np.flatnonzero(np.diff(chosen, prepend=-2) != 1)
        for start, stop in zip(starts, [*starts[1:], len(chosen)], strict=False):
            self._fill(content[start:stop], int(chosen[start]))
        return content

    def _fill(self, content: np.ndarray, first: int) -> None:
        offset = self.offset + first * int(np.prod(self._shape))
        left = memoryview(content.data).cast("B") if content.size else memoryview(b"")
        while left:
            # pread, because the threads of a pipeline share the file; one call gives 2 GiB at most.
            read = os.preadv(self._file, [left], offset)
            if not read:
                raise OSError(f"{self._path}: the file ends before its images do.")
            left, offset = left[read:], offset + read


Images = np.ndarray | ImageFile


def images_at_once(shape: Sequence[int]) -> int:
    """How many images of a shape are processed together: a thousand of Fashion-MNIST's, fewer of larger ones."""
    return max(1, min(1000, VALUES_AT_ONCE // max(1, int(np.prod(shape)))))


def parts(count: int, shape: Sequence[int]) -> Iterator[slice]:
    """Slices that cover `count` images of a shape, each of as many as are processed together."""
    size = images_at_once(shape)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


@dataclass(frozen=True)
class Decoded:
    """A data set as decoded.

    Attributes:
        source: where it came from, in words.
        classes: the class names; a label is an index into them.
        images: uint8 (n, height, width, channels) by split.
        labels: int64 (n,) by split.
        validation: how many of the last training images validate; None: some of each class, wherever they stand.
        left_out: files that could not be used, in words.
    """

    source: str
    classes: tuple[str, ...]
    images: dict[str, Images]
    labels: dict[str, np.ndarray]
    validation: int | None = None
    left_out: tuple[str, ...] = ()


def read_undamaged(folder: Path, limit: int) -> Decoded | None:
    """As `read`; a damaged copy is named on the terminal and removed."""
    try:
        return read(folder, limit)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        print(f"The decoded copy in {folder} is damaged ({error}); decoding anew.", flush=True)
        shutil.rmtree(folder, ignore_errors=True)  # another process may have removed it by now
        return None


def write(folder: Path, about: dict[str, Any], splits: Mapping[str, Pairs]) -> None:
    """Writes a decoded set as its images come; half a set never has its name.

    Args:
        folder: where to; must not exist.
        about: `source`, `classes` and, where they apply, `validation` and `left_out` of `Decoded`;
            looked at when all images have come.
        splits: for each of `SPLITS`, batches of uint8 images and of their labels.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f"{STAGED}*"):
        if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:  # of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=folder.parent))
    try:
        for name, batches in splits.items():
            _write_split(staged, name, batches)
        (staged / "about.json").write_text(json.dumps(about | {"format": FORMAT}))
        try:
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write_split(folder: Path, name: str, batches: Pairs) -> None:
    labels: list[np.ndarray] = []
    with (folder / f"{name}_images.npy").open("wb") as file:
        shape: tuple[int, ...] = (0, 0, 0)
        for images, of_images in batches:
            if not labels:
                shape = images.shape[1:]
                _write_header(file, (0, *shape))
            file.write(np.ascontiguousarray(images, np.uint8).data)
            labels.append(np.asarray(of_images, np.int64))
        # Only now is it known how many they are; NumPy leaves room for that number in the header.
        file.seek(0)
        _write_header(file, (sum(map(len, labels)), *shape))
    np.save(folder / f"{name}_labels.npy", np.concatenate([np.zeros(0, np.int64), *labels]))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def read(folder: Path, limit: int = MEMORY_LIMIT) -> Decoded | None:
    """The decoded set in `folder`, its images in memory if all of them fit into `limit` bytes; None: there is none.

    Raises:
        OSError, ValueError, KeyError, EOFError: it is damaged.
    """
    if not (folder / "about.json").is_file():
        return None
    about = json.loads((folder / "about.json").read_text())
    if about["format"] != FORMAT:
        raise ValueError(f"about.json: expected the format {FORMAT}, found {about['format']}")
    files = {name: ImageFile(folder / f"{name}_images.npy") for name in SPLITS}
    for name, file in files.items():
        expected = int(np.prod(file.shape))
        found = (folder / f"{name}_images.npy").stat().st_size - file.offset
        if found != expected:
            raise ValueError(f"{name}_images.npy: expected {expected:,} bytes of pixels, found {found:,}")
    small = sum(int(np.prod(file.shape)) for file in files.values()) <= limit
    images: dict[str, Images] = {name: np.asarray(file) if small else file for name, file in files.items()}
    labels = {name: np.load(folder / f"{name}_labels.npy") for name in SPLITS}
    return Decoded(
        about["source"],
        tuple(about["classes"]),
        images,
        labels,
        about.get("validation"),
        tuple(about.get("left_out", ())),
    )
