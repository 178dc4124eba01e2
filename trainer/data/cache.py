"""Decoded images on disk: written once, then mapped into memory, so that a set may be larger than the memory.

A folder holds the pixels of each split as plain bytes, its labels as a .npy file, and `about.json`. It gets its name
when it is complete. The system drops pages of a map when it needs memory; a map stays valid when its file is removed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.dataset import Batches, DataError, Decoded, Split

STAGED = ".decoded-"
FORMAT = 3  # grows when decoding gives other images, labels or class names than before
ABANDONED_SECONDS = 24 * 3600
# Pixel values that are processed together, so that memory stays bounded whatever the images' size.
VALUES_AT_ONCE = 2**20


def images_at_once(shape: Sequence[int]) -> int:
    """How many images of a shape are processed together: a thousand of Fashion-MNIST's, fewer of larger ones."""
    return max(1, min(1000, VALUES_AT_ONCE // int(np.prod(shape))))


def parts(count: int, shape: Sequence[int]) -> Iterator[slice]:
    """Slices that cover `count` images of a shape, each of as many as are processed together."""
    size = images_at_once(shape)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def folder_of(data_dir: Path, name: str, image_size: int) -> Path:
    """Where the decoded images of a set are kept, by its name and the size that they were brought to (0: none)."""
    return data_dir / "decoded" / (name.replace("/", "-") + (f"-{image_size}" if image_size else ""))


def write(folder: Path, about: Mapping[str, Any], batches: Batches) -> Decoded:
    """Writes a decoded set batch by batch under a temporary name, renames it, and maps it.

    Args:
        folder: the directory to write, which must not exist.
        about: `source`, `classes` and, where it applies, `left_out` of `Decoded`, which may grow with the batches.
        batches: the images of all three splits, in any order.

    Raises:
        DataError: another process removed the set at once.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f"{STAGED}*"):
        with suppress(FileNotFoundError):  # another process may have removed or renamed it
            if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:  # of a process that was killed
                shutil.rmtree(old, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=folder.parent))
    try:
        shape = _write_splits(staged, batches)
        (staged / "about.json").write_text(json.dumps({**about, "shape": shape, "format": FORMAT}))
        try:
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if (found := read(folder)) is None:
        raise DataError(f"{folder}: another process removed the decoded images. Run again.")
    return found


def _write_splits(folder: Path, batches: Batches) -> tuple[int, ...]:
    """Writes pixels and labels; returns the images' shape."""
    shape: tuple[int, ...] = (0, 0, 0)
    labels: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in ("train", "validation", "test")}
    with ExitStack() as stack:
        # Not through a map: on a full disk, a signal would end the process.
        files = {name: stack.enter_context((folder / f"{name}.images").open("wb")) for name in labels}
        for name, images, of_images in batches:
            shape = images.shape[1:]
            files[name].write(np.ascontiguousarray(images, np.uint8).data)
            labels[name].append(np.asarray(of_images, np.int64))
    for name, of_split in labels.items():
        np.save(folder / f"{name}.labels.npy", np.concatenate(of_split))
    return shape


def read(folder: Path) -> Decoded | None:
    """The decoded set in `folder`; None if there is none or it was damaged, in which case it is removed with a note."""
    if not (folder / "about.json").is_file():
        return None
    try:
        about = json.loads((folder / "about.json").read_text())
        if about["format"] != FORMAT:
            raise ValueError(f"about.json: expected the format {FORMAT}, found {about['format']}")
        splits = {name: _read_split(folder, name, about["shape"]) for name in ("train", "validation", "test")}
        return Decoded(about["source"], tuple(about["classes"]), splits, tuple(about.get("left_out", ())))
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        print(f"The decoded copy in {folder} is damaged ({error}); decoding again.", flush=True)
        shutil.rmtree(folder, ignore_errors=True)  # another process may have removed it by now
        return None


def _read_split(folder: Path, name: str, shape: Sequence[int]) -> Split:
    labels, path = np.load(folder / f"{name}.labels.npy"), folder / f"{name}.images"
    shape = (len(labels), *shape)
    if (found := path.stat().st_size) != (expected := int(np.prod(shape))):
        raise ValueError(f"{path.name}: expected {expected:,} bytes of pixels, found {found:,}")
    # An empty file cannot be mapped.
    images = np.memmap(path, np.uint8, "r", shape=shape) if found else np.zeros(shape, np.uint8)
    return Split(np.asarray(images), labels)
