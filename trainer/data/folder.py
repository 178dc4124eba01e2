"""A user's own pictures, decoded once into one shape; `trainer.data.folder_files` finds them.

Splits that the folder does not have are cut from its training pictures, about a fifth of each class. Which split a
picture goes to is decided by a hash of its class, its name and a seed, so that pictures that are added or removed move
no other: a served version is not judged on pictures that it was trained on. Only in a class so small that a split would
get none is a picture moved, so that every split has one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from registry.names import normalized
from trainer.data import cache
from trainer.data.dataset import Batches, DataError, Decoded
from trainer.data.folder_files import Files, left_out, printable, scan
from trainer.data.pictures import Shape, header, read, shape_for

SHARE = 0.2
BATCH = 256


Parts = dict[str, list[tuple[Path, int]]]  # pictures and the labels of their classes, by split


def load(folder: Path, data_dir: Path, image_size: int, seed: int) -> Decoded:
    """The pictures of a folder as decoded images, decoding them on first use and after every change.

    Args:
        folder: where they are.
        data_dir: where decoded data is kept; made if it is not there.
        image_size: height and width of the images; 0 leaves it to the policy of `trainer.data.pictures`.
        seed: decides which pictures test and validate, where the folder does not.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, or classes that differ between splits.
    """
    folder = folder.resolve()  # so that another path to it gives the same copy
    found = scan(folder)
    parts = _parts(found, seed)
    key = f"{image_size}-{seed}"
    decoded = _decoded(folder, data_dir, "folder", key, found, parts, lambda: _shape(parts, image_size))
    return replace(decoded, test_by_seed="test" not in found)


def held_out(folder: Path, data_dir: Path, shape: Shape) -> Decoded:
    """The pictures of a folder that judge a model which was trained elsewhere, on other pictures.

    Those of its test split judge, and those of its validation split fit the temperature; of a folder without splits,
    all judge but one in five of each class, which fit it.

    Args:
        folder: of pictures, as `load` takes it.
        data_dir: where decoded data is kept; made if it is not there.
        shape: that pictures are brought to, whatever their size.

    Returns:
        A set without training images, decoded on first use and after every change.

    Raises:
        DataError: as `load`; or a folder with splits of which none is for testing.
    """
    folder = folder.resolve()
    found = scan(folder)
    if len(found) > 1 and "test" not in found:
        raise DataError(f"{folder}: expected a folder called test beside {' and '.join(found)}; there is none.")
    parts: Parts = {"train": [], "validation": [], "test": []}
    for label, (name, paths) in enumerate(found["train"].items()):
        if "test" in found:
            of_class = {"test": found["test"][name], "validation": found.get("validation", {}).get(name, [])}
        else:
            cut = _cut(name, paths, ["validation"], seed=0)
            of_class = {"test": cut["train"], "validation": cut["validation"]}
        for split, chosen in of_class.items():
            parts[split] += [(path, label) for path in chosen]
    return _decoded(folder, data_dir, "test", "x".join(map(str, shape)), found, parts, lambda: shape)


def _decoded(
    folder: Path,
    data_dir: Path,
    kind: str,
    key: str,
    found: dict[str, Files],
    parts: Parts,
    measured: Callable[[], Shape],
) -> Decoded:
    """The pictures of a folder, from the copy of its present state, which is made where there is none.

    Args:
        kind: of copy; those of earlier states of the folder are removed.
        key: what the copy depends on beside the folder's state.
        measured: the shape that pictures are brought to; asked for where they are decoded.
    """
    missed = left_out(folder, found)
    of_folder = f"{kind}-{_hash(str(folder))}-"
    of_state = f"{of_folder}{_hash([_stamps(found), missed])}-"
    copy = data_dir / "decoded" / f"{of_state}{key}"
    if known := cache.read(copy):
        return known
    print(f"Decoding the pictures of {folder}; this happens once, until they change.", flush=True)
    about = {"source": f"pictures in {folder}", "classes": tuple(found["train"]), "left_out": missed}
    result = cache.write(copy, about, _batches(parts, measured(), missed))
    for other in copy.parent.glob(f"{of_folder}*"):
        if not other.name.startswith(of_state):
            shutil.rmtree(other, ignore_errors=True)
    return result


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def _stamps(found: dict[str, Files]) -> list[tuple[str, int, int, int]]:
    """What changes when a file or its permissions do: its size and its times of change."""
    paths = [path for files in found.values() for of_class in files.values() for path in of_class]
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path in paths for stat in [path.stat()]]


def _parts(found: dict[str, Files], seed: int) -> Parts:
    """Training, validation and test pictures."""
    parts: Parts = {"train": [], "validation": [], "test": []}
    missing = [split for split in ("test", "validation") if split not in found]
    for label, (name, paths) in enumerate(found["train"].items()):
        if len(paths) <= len(missing):
            raise DataError(
                f"{paths[0].parent}: expected at least {len(missing) + 1} pictures of {name}, of which some "
                f"{' and some '.join('test' if split == 'test' else 'validate' for split in missing)}; "
                f"found {len(paths)}."
            )
        of_class = {split: files[name] for split, files in found.items()} | _cut(name, paths, missing, seed)
        for split, chosen in of_class.items():
            parts[split] += [(path, label) for path in chosen]
    return parts


def _cut(name: str, paths: list[Path], missing: list[str], seed: int) -> dict[str, list[Path]]:
    """The training pictures of a class by the split that they go to: `SHARE` of what is left, and one at least."""
    places = {path: _place(f"{seed}/{name}/{normalized(path.name)}") for path in paths}
    ordered = sorted(paths, key=lambda path: places[path])
    cut, start, bound = {}, 0, 0.0
    for at, split in enumerate(missing):
        bound += SHARE * (1 - bound)
        stop = max(start + 1, sum(place < bound for place in places.values()))
        stop = min(stop, len(ordered) - (len(missing) - at))  # some are left for the splits that follow
        cut[split], start = ordered[start:stop], stop
    return cut | {"train": ordered[start:]}


def _place(text: str) -> float:
    """A number in [0, 1), the same for the same text and spread evenly over all texts."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _shape(parts: Parts, image_size: int) -> Shape:
    """The images' shape, from the headers of the pictures that are not broken."""
    sizes, grey = set(), True
    for path in (path for pictures in parts.values() for path, _ in pictures):
        try:
            size, is_grey = header(path)
        except Exception:  # noqa: S112 - a broken header raises anything; `read` will name the file
            continue
        sizes.add(size)
        grey = grey and is_grey
    return shape_for(sizes.pop() if len(sizes) == 1 else None, 1 if grey else 3, image_size)


def _batches(parts: Parts, shape: Shape, missed: list[str]) -> Batches:
    """Batches of decoded pictures and their labels; those that are broken are named in `missed`."""
    for split, pictures in parts.items():
        for start in range(0, len(pictures), BATCH):
            images, labels = [], []
            for path, label in pictures[start : start + BATCH]:
                try:
                    images.append(read(path, shape))
                    labels.append(label)
                except DataError as error:
                    missed.append(printable(str(error)))
            if images:
                yield split, np.stack(images), np.array(labels)
