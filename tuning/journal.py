"""What has become of each trial, on disk line by line: from it keras-tuner's state is rebuilt.

keras-tuner's own files are written in place, so that a kill can leave half of one, and lack the state of the Gaussian
process's random numbers and of the grid. The journal is only ever added to; half a line at its end was never promised
to anybody, and is cut off.
"""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMPLETED, FAILED = "COMPLETED", "FAILED"


class SearchError(ValueError):
    """A search that cannot begin or go on; the message says why, and how to mend it."""


def write_whole(path: Path, text: str) -> None:
    """Writes beside and renames, so that half a file never has the name that others look for."""
    part = path.with_name(f".{path.name}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


@dataclass
class Record:
    """One trial.

    Attributes:
        number: 0-based, in the order of their beginnings.
        worker: whom it was given to first.
        values: its hyperparameters.
        begun: when, in seconds since 1970.
        status: COMPLETED or FAILED; empty while it runs.
        score: the best validation accuracy; None unless completed.
        history: the validation accuracy after each epoch.
        stopped: it was losing, and ended before its last epoch.
        seconds: from its beginning to its end, in the worker that finished it.
        ended: when.
        message: why it failed.
    """

    number: int
    worker: str
    values: dict[str, Any]
    begun: float
    status: str = ""
    score: float | None = None
    history: list[float] = field(default_factory=list)
    stopped: bool = False
    seconds: float = 0.0
    ended: float = 0.0
    message: str = ""


class Journal:
    """The records of a search, by trial number, and the events that they came from, in order.

    One process writes; others may read meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Reads what is there.

        Raises:
            SearchError: a line other than the last is no event.
            OSError: it cannot be read or written.
        """
        self.path = path
        self.records: dict[int, Record] = {}
        self.events: list[tuple[str, int]] = []
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._apply(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise SearchError(
                    f"{path}: expected an event of a search in line {number} ({error}). --fresh begins anew."
                ) from error
        self._size = len(whole)

    @property
    def finished(self) -> list[Record]:
        """The trials that ended, in the order of their ends."""
        return [self.records[number] for event, number in list(self.events) if event == "end"]

    def begin(self, number: int, worker: str, values: dict[str, Any]) -> None:
        self._append({"event": "begin", "number": number, "worker": worker, "values": values, "begun": time.time()})

    def end(self, number: int, **outcome: Any) -> None:
        """Writes how a trial ended; `outcome` has the fields of a Record."""
        self._append({"event": "end", "number": number, "ended": time.time(), **outcome})

    def _append(self, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            file.truncate(self._size)  # half a line of a search that was killed
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(self._size)
                raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += len(line)
        self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        kind, number = event.pop("event"), event["number"]
        if kind == "begin":
            self.records[number] = Record(**event)
        else:
            for name, value in event.items():
                setattr(self.records[number], name, value)
        self.events.append((kind, number))
