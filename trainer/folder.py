"""A user's own pictures: PATH/<class>/* or PATH/<split>/<class>/*, decoded once into one shape.

Splits are called train, test and validation. What is not there is cut from the training pictures: a fifth of each
class, drawn by a seed of its own, so that runs of several seeds are tested on the same pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer import decoded
from trainer.decoded import Decoded
from trainer.idx import DataError
from trainer.pictures import TAKEN, Shape, header, is_picture, is_readable, read, shape_for

SPLITS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
SHARE = 0.2
BATCH = 256

Files = dict[str, list[Path]]  # by class


@dataclass(frozen=True)
class _Part:
    """Pictures of one split, and the class of each."""

    paths: list[Path]
    labels: list[int]


def load(folder: Path, data_dir: Path, image_size: int, seed: int, limit: int) -> Decoded:
    """The pictures of a folder as decoded images, decoding them on first use and after every change.

    Args:
        folder: where they are.
        data_dir: where decoded data is kept; made if it is not there.
        image_size: height and width of the images; 0 leaves it to the policy of `trainer.pictures`.
        seed: decides which pictures test and validate, where the folder does not.
        limit: bytes beyond which the images stay on disk.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, or classes that differ between splits.
    """
    found = _scan(folder)
    classes = tuple(found["train"])
    left_out = _left_out(folder, found)
    about = {
        "folder": str(folder.resolve()),
        "image_size": image_size,
        "seed": seed,
        "files": _stamps(found),
        "left_out": left_out,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    kept = data_dir / "decoded" / f"{folder.resolve().name}-{key}"
    if known := decoded.kept(kept, limit):
        return known
    print(f"Decoding the pictures of {folder}; this happens once, until they change.", flush=True)
    _decode(folder, kept, classes, _parts(found, seed), image_size, left_out)
    result = decoded.read(kept, limit)
    assert result is not None  # noqa: S101 - written above
    return result


def _scan(folder: Path) -> dict[str, Files]:
    """The picture files of each split by class; all of them under `train` where the folder has no splits."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, PATH/<class>/*; there is none.")
    splits = {SPLITS[path.name]: path for path in _folders(folder) if path.name in SPLITS}
    if "train" in splits:
        if strange := [path.name for path in _folders(folder) if path.name not in SPLITS]:
            raise DataError(f"{folder}: expected only {', '.join(SPLITS)} beside train, found {', '.join(strange)}.")
    else:
        splits = {"train": folder}
    found = {split: _by_class(path) for split, path in splits.items()}
    classes = set(found["train"])
    if len(classes) < 2:
        raise DataError(
            f"{splits['train']}: expected a folder for each of at least two classes, "
            f"found {', '.join(classes) or 'none'}."
        )
    for split, files in found.items():
        if differing := sorted(classes ^ set(files)):
            raise DataError(
                f"{splits[split]}: expected the classes of {splits['train']}, which are {', '.join(sorted(classes))}; "
                f"{', '.join(differing)} {'is' if len(differing) == 1 else 'are'} in one of the two only."
            )
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _by_class(folder: Path) -> Files:
    files = {path.name: sorted(each for each in path.iterdir() if _is_readable(each)) for path in _folders(folder)}
    if empty := [name for name, of_class in files.items() if not of_class]:
        raise DataError(
            f"{folder}: expected {TAKEN} pictures of every class, found none of {', '.join(empty)}. "
            "A class's pictures must lie in its folder itself, not in folders below it."
        )
    return files


def _is_readable(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and is_readable(path)


def _left_out(folder: Path, found: dict[str, Files]) -> list[str]:
    """How many pictures anywhere in the folder are not read, by the reason, each time with one of them."""
    taken = {path for files in found.values() for of_class in files.values() for path in of_class}
    place = "PATH/<class>/" if len(found) == 1 else "PATH/<split>/<class>/"
    missed: dict[str, list[Path]] = {}
    for path in _files_below(folder, set()):
        if path not in taken and is_picture(path):
            kind = f"not {TAKEN} but {path.suffix}"
            missed.setdefault(f"not in {place} itself" if is_readable(path) else kind, []).append(path)
    return [
        f"Left out as {reason}: {len(paths):,} picture{'s' * (len(paths) > 1)}, such as {paths[0]}."
        for reason, paths in missed.items()
    ]


def _files_below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """All files that are not hidden, through links too, but no folder twice."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_below(path, seen)
        elif path.is_file():
            yield path


def _stamps(found: dict[str, Files]) -> list[tuple[str, int, int, int]]:
    """What changes when a file or its permissions do: its size and its times of change."""
    paths = [path for files in found.values() for of_class in files.values() for path in of_class]
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path in paths for stat in [path.stat()]]


def _parts(found: dict[str, Files], seed: int) -> dict[str, _Part]:
    """Training, validation and test pictures, each class shared out alike."""
    chance = np.random.default_rng(seed)
    parts: dict[str, _Part] = {split: _Part([], []) for split in ("train", "validation", "test")}
    missing = [split for split in ("test", "validation") if split not in found]
    for label, (name, paths) in enumerate(found["train"].items()):
        if len(paths) <= len(missing):
            raise DataError(
                f"{paths[0].parent}: expected at least {len(missing) + 1} pictures of {name}, of which some "
                f"{' and some '.join('test' if split == 'test' else 'validate' for split in missing)}; "
                f"found {len(paths)}."
            )
        left = [paths[index] for index in chance.permutation(len(paths))]
        for split in missing:
            count = max(1, round(SHARE * len(left)))
            _add(parts[split], left[:count], label)
            left = left[count:]
        _add(parts["train"], left, label)
    for split in parts.keys() & found.keys() - {"train"}:
        for label, paths in enumerate(found[split].values()):
            _add(parts[split], paths, label)
    return parts


def _add(part: _Part, paths: list[Path], label: int) -> None:
    part.paths.extend(paths)
    part.labels.extend([label] * len(paths))


def _decode(
    folder: Path,
    target: Path,
    classes: tuple[str, ...],
    parts: dict[str, _Part],
    image_size: int,
    left_out: list[str],
) -> None:
    shape = _shape([path for part in parts.values() for path in part.paths], image_size)
    about: dict[str, Any] = {"source": f"pictures in {folder}", "classes": classes, "left_out": left_out}

    def training() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from _batches(parts["train"], shape, left_out)
        about["validation"] = 0
        for images, labels in _batches(parts["validation"], shape, left_out):
            about["validation"] += len(images)
            yield images, labels

    decoded.write(target, about, {"train": training(), "test": _batches(parts["test"], shape, left_out)})


def _shape(paths: list[Path], image_size: int) -> Shape:
    """The images' shape, from the pictures' headers; broken ones have no say."""
    sizes, grey = set(), True
    for path in paths:
        try:
            size, is_grey = header(path)
        except Exception:  # noqa: S112 - a broken header raises anything; `read` will name the file
            continue
        sizes.add(size)
        grey = grey and is_grey
    return shape_for(sizes.pop() if len(sizes) == 1 else None, 1 if grey else 3, image_size)


def _batches(part: _Part, shape: Shape, left_out: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of decoded pictures and their labels; those that are broken are named in `left_out`."""
    for start in range(0, len(part.paths), BATCH):
        images, labels = [], []
        for path, label in zip(part.paths[start : start + BATCH], part.labels[start : start + BATCH], strict=True):
            try:
                images.append(read(path, shape))
                labels.append(label)
            except DataError as error:
                left_out.append(str(error))
        if images:
            yield np.stack(images), np.array(labels)
