"""The files of a version: their hashes, what has become of them since, and their way to the disk."""

import hashlib
import os
import stat
from pathlib import Path

from registry.card import CARD_PATH


def hashes(directory: Path) -> dict[str, str]:
    """Relative path -> sha256 in hex of every file under `directory` but the card, sorted by path.

    `directory` itself may be a symbolic link, nothing inside it may: what a link leads to has no hash.

    Raises:
        OSError: a file cannot be read, or is not a plain file.
    """
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        name = path.relative_to(directory).as_posix()
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise OSError(0, "a version holds plain files and directories only", str(path))
        if name == CARD_PATH:
            continue
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def damage(directory: Path, expected: dict[str, str]) -> list[str]:
    """What the files under `directory` and the hashes `expected` differ in; empty when all is whole."""
    found = hashes(directory)
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} has changed" for name in sorted(expected) if found.get(name, expected[name]) != expected[name]),
        *(f"{name} is extra" for name in sorted(found.keys() - expected.keys())),
    ]


def sync(path: Path) -> None:
    """Wait until the file or directory entry list at `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Wait until everything under `directory` is on the disk, contents before the names that lead to them."""
    for path in sorted(directory.rglob("*"), reverse=True):
        sync(path)
    sync(directory)
