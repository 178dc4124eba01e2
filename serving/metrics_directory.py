"""The directory through which workers share their metrics: its files are reserved on the disk, and removed by name.

prometheus_client maps one file for each kind of metric and process into memory. A write into a mapped page for which
the disk has no space left kills the process (SIGBUS), so a worker reserves its files before the library opens them.
"""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from serving.settings import SettingsError

PREFIX = "serving-metrics-"  # of a directory that is made here, because none was named
# The library's names for the kinds of `metrics.py`, and bytes for each. It needs some 150 for a counter of one class.
_BYTES = {"counter": 2**20, "histogram": 2**16, "gauge_livesum": 2**12, "gauge_liveall": 2**12}
_OWN = re.compile(rf"(?:{'|'.join(_BYTES)})_\d+\.db")
_LABEL_END = 16  # bytes of an entry that may all be zero: its value and its time stamp


def make(named: Path | None) -> Path:
    """The directory to use: `named`, without what an earlier start left in it, or else a new one.

    Raises:
        SettingsError: `named` cannot be written to.
        OSError: a new one cannot be made.
    """
    if named is None:
        return Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        named.mkdir(parents=True, exist_ok=True)
        for path in files(named):
            os.unlink(path)
    except OSError as error:
        raise SettingsError(f"METRICS_DIRECTORY must be a directory to write to. Received: {error}.") from error
    return named


def reserve(directory: Path, process: int) -> None:
    """Take the space for the files of a worker. Raises OSError when there is none; nothing is left behind then."""
    directory.mkdir(parents=True, exist_ok=True)  # something may have cleaned it up since the start
    try:
        for kind, size in _BYTES.items():
            with (directory / f"{kind}_{process}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        for kind in _BYTES:
            (directory / f"{kind}_{process}.db").unlink(missing_ok=True)
        raise


def holds(directory: Path, process: int) -> bool:
    """Whether the files of a worker are still there."""
    return all((directory / f"{kind}_{process}.db").is_file() for kind in _BYTES)


def files(directory: Path) -> list[str]:
    """The paths of all workers' files, also of those that ended."""
    return [str(path) for path in directory.iterdir() if _OWN.fullmatch(path.name)]


def retire(directory: Path, process: int) -> None:
    """Keep of a worker that ended what still counts, the sums, and give back the space that they do not need."""
    for kind in _BYTES:
        path = directory / f"{kind}_{process}.db"
        with suppress(FileNotFoundError):
            if kind.startswith("gauge_live"):
                path.unlink()
            else:
                os.truncate(path, len(path.read_bytes().rstrip(b"\0")) + _LABEL_END)


def remove(directory: Path) -> None:
    """Remove the files of all workers, and the directory if it was made here and nothing else lies in it."""
    with suppress(OSError):
        for path in files(directory):
            os.unlink(path)
        if directory.name.startswith(PREFIX):
            directory.rmdir()
