"""What a search found: `trials.csv`, and `report.html`, one page that needs nothing but itself."""

from __future__ import annotations

import csv
import html
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from tuning import figures
from tuning.importance import METHOD, importance, numbers
from tuning.journal import COMPLETED, Journal, write_whole
from tuning.progress import described, outcome
from tuning.space import Search

PAGE, TABLE = "report.html", "trials.csv"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; } img { max-width: 100%; }
table { border-collapse: collapse; font-size: 14px; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #ddd; white-space: nowrap; }
td:last-child { white-space: normal; }
code, pre { background: #f4f4f4; padding: .15rem .3rem; } pre { padding: .7rem; white-space: pre-wrap; }
.note { color: #555; }
"""


# What the trainer chooses by other options where it is left out.
ALWAYS = ("model", "optimizer", "learning_rate")


def command(config: TrainConfig) -> str:
    """What trains exactly this config, seed included."""
    plain, options = TrainConfig().asdict(), ["--recipe paper"]
    for name, value in config.asdict().items():
        option = name.replace("_", "-")
        if value == plain[name] and name not in ALWAYS:
            continue
        if isinstance(value, bool):
            options.append(f"--{option}" if value else f"--no-{option}")
        else:
            options.append(f"--{option} {shlex.quote(str(value))}")
    return f'make train ARGS="{" ".join(options)}"'


def write_table(search: Search, journal: Journal, directory: Path) -> None:
    """Writes a line a finished trial, with all of its settings that were searched."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", *search.free, "status", "score", "epochs", "stopped", "seconds", "message"])
    for record in journal.finished:
        config = search.config(record.values, record.number)
        settings = [getattr(config, name) for name in search.free]
        found = [record.status, record.score, len(record.history), record.stopped, record.seconds, record.message]
        writer.writerow([record.number, *settings, *found])
    write_whole(directory / TABLE, text.getvalue())


def write(search: Search, journal: Journal, kept: dict[str, Any], directory: Path) -> Path:
    """Writes the page, and returns where it is."""
    trials = [(record, search.config(record.values, record.number)) for record in journal.finished]
    scored = [(record, config) for record, config in trials if record.score is not None]
    parts = [
        *_finalists(search, journal, kept),
        *_drawn("Best accuracy over time", figures.best_over_time(trials)),
        *_drawn("Learning rate against accuracy", figures.learning_rates(scored)),
        *_drawn("All settings together", figures.parallel_coordinates(scored, search.free)),
        *_importance(search, scored),
        *_trials(search, trials),
    ]
    title = html.escape(f"Search of {directory.name}")
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{title}</h1>", _what(search, trials), *parts])
    write_whole(directory / PAGE, f"{head}</head>\n<body>\n{body}\n</body></html>\n")
    return directory / PAGE


def _what(search: Search, trials: figures.Trials) -> str:
    stopped = sum(record.stopped for record, _ in trials)
    failed = sum(record.status != COMPLETED for record, _ in trials)
    epochs = sum(len(record.history) for record, _ in trials)
    return _paragraph(
        f"{len(trials)} trials of at most {search.epochs} epochs, {epochs} epochs in all; {stopped} stopped early, "
        f"{failed} failed. Algorithm {search.algorithm}, seed {search.seed}. Searched: {', '.join(search.free)}. The "
        f"other settings are those of {search.base}."
    )


def _finalists(search: Search, journal: Journal, kept: dict[str, Any]) -> list[str]:
    best = max(kept["runs"], key=lambda run: run["validation"])
    config = search.full_config(journal.records[best["trial"]].values, best["trial"], best["seed"])
    pushed = f"pushed as version {kept['version']}" if kept["version"] else "refused by the gate, see its verdict.json"
    rows = []
    for run in kept["runs"]:
        record = journal.records[run["trial"]]
        accuracies = [f"{each:.4f}" for each in (record.score, run["validation"], run["test"])]
        where = f"{run['run']} ({pushed})" if run == best else run["run"]
        rows.append([record.number, described(search, record), run["seed"], *accuracies, where])
    header = ["trial", "settings", "seed", f"score, {search.epochs} epochs", "validation", "test", "run"]
    return [
        "<h2>The best</h2>",
        _paragraph(f"{config}; {pushed}. It is trained again by"),
        f"<pre>{html.escape(command(config))}</pre>",
        _table(header, rows),
        _paragraph(
            f"The score is a trial's best validation accuracy in the search, which chose it; validation and test are "
            f"those of a new training of {search.base.epochs} epochs. The test images chose nothing."
        ),
    ]


def _importance(search: Search, scored: figures.Trials) -> list[str]:
    columns = [
        numbers([getattr(config, name) for _, config in scored], name in figures.LOGARITHMIC) for name in search.free
    ]
    found = importance(search.free, columns, [record.score or 0.0 for record, _ in scored])
    if found is None:
        return ["<h2>Which settings mattered</h2>", _paragraph("Too few trials to tell.")]
    fit = f"On trials that a tree has not seen, the forest's R² is {found.fit:.2f}"
    trust = (
        ": what it says can be trusted as far." if found.fit > 0 else ": no better than guessing, so trust it little."
    )
    return [*_drawn("Which settings mattered", figures.importances(found)), _paragraph(f"{METHOD} {fit}{trust}")]


def _trials(search: Search, trials: figures.Trials) -> list[str]:
    rows = []
    for record, config in sorted(trials, key=lambda each: -(each[0].score or 0.0)):
        settings = [getattr(config, name) for name in search.free]
        rows.append([record.number, *settings, outcome(record), len(record.history), f"{record.seconds:.0f}"])
    header = ["trial", *(name.replace("_", " ") for name in search.free), "score", "epochs", "seconds"]
    return ["<h2>All trials</h2>", _table(header, rows)]


def _drawn(title: str, figure: str) -> list[str]:
    return [f"<h2>{html.escape(title)}</h2>", f'<img alt="{html.escape(title)}" src="{figure}">']


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return (
        '<div class="wide"><table>'
        + "\n".join([line(header, "th"), *(line(row, "td") for row in rows)])
        + "</table></div>"
    )
