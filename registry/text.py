"""Plain text that the commands share: tables, counted nouns, trees as rows, errors as a line."""

from typing import Any


def table(rows: list[list[str]]) -> str:
    """Rows of equal length as lines with aligned columns; no rows as no text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Such as `1 epoch` and `1,000 epochs`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of dicts as one dict: {"a": {"b": 1}} becomes {"a.b": 1}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def first_line(error: BaseException) -> str:
    """What an error of a library says, in a line of at most 200 characters; its kind where it says nothing."""
    reason = str(error).rpartition("Exception encountered: ")[2]  # Keras's own errors have the cause at their end
    line = " ".join(reason.strip().partition("\n")[0].split())
    return (line if len(line) <= 200 else f"{line[:197]}...") or type(error).__name__
