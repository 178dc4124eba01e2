"""What a search found: `trials.csv`, and `report.html`, one page that needs nothing but itself."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from registry.disk import write_whole
from registry.text import counted
from trainer.adaptation import ADAPTED
from trainer.config import TrainConfig
from tuning import figures
from tuning.importance import METHOD, importance
from tuning.space import Search
from tuning.trials import Record

PAGE, TABLE = "report.html", "trials.csv"
# What the trainer chooses by other options, or by the size of the data set, where it is left out.
ALWAYS = ("optimizer", *ADAPTED)


def options(config: TrainConfig) -> list[str]:
    """The trainer's options, each with its value, that train exactly this config, seed included."""
    plain, found = TrainConfig().asdict(), ["--recipe paper"]
    for name, value in config.asdict().items():
        option = name.replace("_", "-")
        if value == plain[name] and name not in ALWAYS:
            continue
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        else:
            found.append(f"--{option} {shlex.quote(str(value))}")
    return found


def write_table(search: Search, finished: Sequence[Record], directory: Path) -> None:
    """Writes a line a finished trial, with all of its settings that were searched."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", *search.free, "status", "score", "epochs", "stopped", "seconds", "message"])
    for record in finished:
        config = search.config(record.values, record.number)
        settings = [getattr(config, name) for name in search.free]
        found = [record.status, record.score, len(record.history), record.stopped, record.seconds, record.message]
        writer.writerow([record.number + 1, *settings, *found])
    write_whole(directory / TABLE, text.getvalue())


def write(search: Search, finished: Sequence[Record], kept: dict[str, Any], directory: Path) -> Path:
    """Writes the page, and returns where it is."""
    records = {record.number: record for record in finished}
    trials = [(record, search.config(record.values, record.number)) for record in finished]
    scored = [(record, config) for record, config in trials if record.score is not None]
    best = max(kept["runs"], key=lambda run: run["validation"])
    config = search.full_config(records[best["trial"]].values, best["trial"], best["seed"])
    environment = Environment(loader=PackageLoader("tuning", ""), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html.j2").render(
        name=directory.name,
        search=search,
        records=records,
        trials=trials,
        scored=scored,
        ranked=sorted(trials, key=lambda each: -(each[0].score or 0.0)),
        epochs=sum(len(record.history) for record in finished),
        runs=kept["runs"],
        best=best,
        config=config,
        options=options(config),
        verdict=f"pushed as version {kept['version']}" if kept["version"] else "refused by the gate, see verdict.json",
        figures=figures,
        importance=importance(search.free, scored),
        counted=counted,
        method=METHOD,
    )
    write_whole(directory / PAGE, page)
    return directory / PAGE
