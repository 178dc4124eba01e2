"""Files that are whole or not there: atomic writes, staging directories, locks between processes, hashes.

A slot of the staging area is a hidden directory `<root>/.staging/<token>/` that a living process holds by a file lock.
The kernel drops that lock when the process ends, however it ends, so a slot that is not locked can be removed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry.card import CARD_PATH
from registry.errors import refusals


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to, which replaces `path` once it is on the disk.

    Whatever happens, what was at `path` before stays whole until then.

    Raises:
        OSError: the disk refuses; it names `path`, also where a library's own names no file.
    """
    part = path.with_name(f".{path.name}")
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file, text in UTF-8, so that neither a reader nor a crash ever sees half of it."""
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, content: object) -> None:
    """Writes a value as JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


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


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock of the file at `path`, waiting for it; `shared` holders exclude only exclusive ones."""
    with ExitStack() as held:
        with refusals("lock the store", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            # "a+" makes the file, keeps it, and may read and write: NFS grants shared locks to readers only.
            file = held.enter_context(path.open("a+"))
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@contextmanager
def slot(staging: Path) -> Iterator[Path]:
    """Yield a fresh empty directory under `staging`; on the way out remove it, if it was not renamed away.

    Slots of dead processes are removed on the way in. Raises RegistryError when the disk refuses.
    """
    with ExitStack() as held:
        # One at a time from making a slot to locking it, so that nobody takes a new slot for a dead one.
        with locked(staging / "lock"), refusals("stage a version", staging):
            _remove_dead_slots(staging)
            mine = Path(tempfile.mkdtemp(dir=staging))
            held.callback(shutil.rmtree, mine, ignore_errors=True)
            held.enter_context(locked(mine / "lock"))
            # A directory of its own: mkdtemp's are private (0700), but the service may run as another user.
            version = mine / "version"
            version.mkdir()
        yield version


def _remove_dead_slots(staging: Path) -> None:
    for each in staging.iterdir():
        if each.is_dir() and not _held(each / "lock"):
            shutil.rmtree(each, ignore_errors=True)


def _held(lock: Path) -> bool:
    """Whether a living process holds the slot of this `lock`. Without the file none does: see `slot`."""
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked by its process, or another user's and not ours to judge
        return True
    return False
