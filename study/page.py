"""The report as files: one HTML page that needs no other, and Markdown."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from study.report import Section
from study.tables import Table

TITLE = "Two small CNNs on Fashion-MNIST: a paper's experiments, run again"
TEMPLATE = Path(__file__).parent / "page.html"
WIDE = "confusion"  # the figure that a phone shows larger than itself, to be moved about


def html(sections: Sequence[Section]) -> str:
    """Everything on one page, pictures inside."""
    body = "\n".join(line for section in sections for line in _as_html(section))
    return Template(TEMPLATE.read_text("utf-8")).substitute(title=escape(TITLE), body=body)


def markdown(sections: Sequence[Section]) -> str:
    """The same without figures."""
    parts = [
        f"# {TITLE}",
        "Written by `make study ARGS=--write-results`; `report.html` in `artifacts/study` has the figures too.",
    ]
    for section in sections:
        if section.figures and not section.tables:
            continue  # its words are about what is not here
        parts += [f"## {section.title}", *section.words]
        parts += [_table_as_markdown(table) for table in section.tables if table.rows]
    return "\n\n".join(parts) + "\n"


def _as_html(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    yield from (f"<p>{escape(text)}</p>" for text in section.words)
    yield from (_table_as_html(table) for table in section.tables if table.rows)
    if section.figures:
        yield '<div class="figures">'
        yield from (_figure_as_html(path, escape(caption)) for path, caption in section.figures)
        yield "</div>"


def _figure_as_html(path: Path, caption: str) -> str:
    picture = f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
    kind = ' class="wide"' if path.stem == WIDE else ""
    return f'<figure{kind}><img alt="{caption}" src="{picture}"><figcaption>{caption}</figcaption></figure>'


def _table_as_html(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(f"<tr>{''.join(map(_cell_as_html, row))}</tr>" for row in table.rows)
    caption = escape(table.caption)
    return f'<div class="table"><table><caption>{caption}</caption>\n<tr>{head}</tr>\n{rows}\n</table></div>'


def _cell_as_html(cell: str) -> str:
    return f'<td class="words">{escape(cell)}</td>' if len(cell) > 30 else f"<td>{escape(cell)}</td>"


def _table_as_markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return f"{table.caption}:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
