"""What a search found, in a table and on a page of its own."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

from trainer.config import TrainConfig
from tuning.finalists import Kept
from tuning.journal import Journal, write_whole
from tuning.space import Search

PAGE, TABLE = "report.html", "trials.csv"


def command(config: TrainConfig) -> str:
    """What trains exactly this config, seed included."""
    plain, options = TrainConfig().asdict(), ["--recipe paper"]
    for name, value in config.asdict().items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            options.append(option)
        elif value != plain[name]:
            options.append(f"{option} {shlex.quote(str(value))}")
    return f'make train ARGS="{" ".join(options)}"'


def write_table(search: Search, journal: Journal, directory: Path) -> None:
    """Writes a line a finished trial, with all of its settings that were searched."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", *search.free, "status", "score", "epochs", "stopped", "seconds", "message"])
    for record in journal.finished:
        config = search.config(record.values, record.number)
        writer.writerow(
            [
                record.number,
                *(getattr(config, name) for name in search.free),
                record.status,
                record.score,
                len(record.history),
                record.stopped,
                record.seconds,
                record.message,
            ]
        )
    write_whole(directory / TABLE, text.getvalue())


def write(search: Search, journal: Journal, kept: Kept | None, directory: Path) -> Path:
    return directory / TABLE
