"""Staging: where a version is written before it is published and moved before it is deleted; locks between processes.

A slot is a hidden directory `<root>/.staging/<token>/` that a living process holds by a file lock. The kernel
drops that lock when the process ends, however it ends, so a slot that is not locked can be removed.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry.errors import refusals


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
