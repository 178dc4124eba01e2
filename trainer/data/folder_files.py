"""Which files of a folder are pictures of which class and split: PATH/<class>/* or PATH/<split>/<class>/*."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from decoding.errors import TAKEN
from registry.names import normalized
from trainer.data.dataset import DataError, listed
from trainer.data.pictures import is_picture, is_readable

# What people call the folders of the three splits, in small letters or capitals.
SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}

Files = dict[str, list[Path]]  # by class


def scan(folder: Path) -> dict[str, Files]:
    """The picture files of each split by class, sorted; all of them under `train` where the folder has no splits.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, or classes that differ between splits.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, PATH/<class>/*; there is none.")
    splits = _splits(folder)
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
                f"{splits[split]}: expected the classes of {splits['train']}, which are {listed(sorted(classes))}; "
                f"{listed(differing)} {'is' if len(differing) == 1 else 'are'} in one of the two only."
            )
    return found


def left_out(folder: Path, found: dict[str, Files]) -> list[str]:
    """How many pictures anywhere in the folder are not read, by the reason, each time with one of them.

    A link that leads nowhere counts: data sets under version control have such where their files were not fetched.
    """
    taken = {path for files in found.values() for of_class in files.values() for path in of_class}
    place = "PATH/<class>/" if len(found) == 1 else "PATH/<split>/<class>/"
    missed: dict[str, list[Path]] = {}
    for path in files_below(folder, set()):
        if path not in taken and is_picture(path):
            if not path.is_file():
                reason = "that are no files, or links that lead nowhere"
            elif is_readable(path):
                reason = f"not directly in {place}"
            else:
                reason = f"in the format {path.suffix}, where only {TAKEN} are read"
            missed.setdefault(reason, []).append(path)
    return [
        printable(f"Left out: {len(paths):,} picture{'s' * (len(paths) > 1)} {reason}, such as {paths[0]}.")
        for reason, paths in missed.items()
    ]


def printable(text: str) -> str:
    """The text with escapes in the place of what is not UTF-8 in the names of files."""
    return text.encode("utf-8", "backslashreplace").decode()


def _splits(folder: Path) -> dict[str, Path]:
    """The folder of each split; the folder itself as `train` where it has classes and no splits."""
    folders = _folders(folder)
    named = [path for path in folders if path.name.casefold() in SPLITS]
    # A class may be called "train" too, beside others: its folder then has pictures and no folders.
    if not named or (len(named) < len(folders) and not any(map(_folders, named))):
        return {"train": folder}
    splits = {SPLITS[path.name.casefold()]: path for path in named}
    if len(splits) < len(folders) or "train" not in splits:
        raise DataError(
            f"{folder}: expected a folder for each class, or folders called train, test and validation (train at "
            f"least, no other beside them) with a folder for each class; found {listed([*map(_name, folders)])}."
        )
    return splits


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _by_class(folder: Path) -> Files:
    files: Files = {}
    for path in _folders(folder):
        # Extended, because one name may be there in two spellings.
        files.setdefault(_class_of(path), []).extend(sorted(each for each in path.iterdir() if _is_readable(each)))
    if empty := [name for name, of_class in files.items() if not of_class]:
        raise DataError(
            f"{folder}: expected {TAKEN} pictures of every class, found none of {listed(empty)}. "
            "A class's pictures must lie in its folder itself, not in folders below it."
        )
    return dict(sorted(files.items()))


def _class_of(folder: Path) -> str:
    if _name(folder) != folder.name or any(unicodedata.category(character) == "Cc" for character in folder.name):
        raise DataError(
            f"{printable(str(folder.parent))}: expected the name of a class in UTF-8 and without line breaks or other "
            f"control characters, found {os.fsencode(folder.name)!r}. Rename the folder."
        )
    return normalized(folder.name)


def _name(path: Path) -> str:
    return printable(path.name)


def _is_readable(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and is_readable(path)


def files_below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """All that is no folder and not hidden, through links too, but no folder twice."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, seen)
        else:
            yield path
