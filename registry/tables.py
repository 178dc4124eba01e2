"""Tables of versions as plain text: the list of all, and two side by side."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from registry.card import CardError, ModelCard
from registry.store import ModelStore

_WIDEST = 40  # characters of a value in a table; a sha256 is cut, and its beginning tells it apart


def listing(store: ModelStore) -> str:
    """One line a version, oldest first; the mark says which one is served, and whether a pin says so."""
    served, pinned = store.served(), store.pinned()
    rows = [["version", "created (UTC)", "model", "test accuracy", ""]]
    for version in store.versions():
        mark = ("served, pinned" if pinned else "served") if version == served else ""
        try:
            card = store.card(version)
        except CardError:
            rows.append([str(version), "?", "?", "?", f"damaged card: see verify {version}"])
        else:
            model = shown(card.config.get("model", "-"))
            rows.append([str(version), moment(card.created), model, accuracy(card), mark])
    return table(rows)


def comparison(store: ModelStore, first: int, second: int) -> str:
    """The facts in which the cards of two versions differ, one a line; numbers with their difference."""
    one, two = (flat(_facts(store.card(version))) for version in (first, second))
    rows = [["", f"version {first}", f"version {second}", "difference"]]
    for key in dict.fromkeys([*one, *two]):
        left, right = one.get(key, "-"), two.get(key, "-")
        if left != right:
            numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
            rows.append([key, _cut(shown(left)), _cut(shown(right)), f"{right - left:+.4g}" if numbers else ""])
    return table(rows) if len(rows) > 1 else f"Versions {first} and {second} differ in nothing."


def table(rows: list[list[str]]) -> str:
    """Rows of equal length as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of dicts as one dict: {"a": {"b": 1}} becomes {"a.b": 1}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def shown(value: Any) -> str:
    """A value of a card for the eye: floats to four figures, long lists as their size."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    if isinstance(value, list | tuple):
        items = [shown(item) for item in value]
        return f"[{', '.join(items)}]" if len(items) <= 10 else f"{len(items)} values"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment(created: str) -> str:
    return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M}"


def accuracy(card: ModelCard) -> str:
    """The test accuracy with its interval, to four places, as far as the card has them."""
    found, interval = card.metrics.get("test_accuracy"), card.metrics.get("test_interval")
    if not isinstance(found, float):
        return "-"
    return f"{found:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else f"{found:.4f}"


def _facts(card: ModelCard) -> dict[str, Any]:
    """The card without what differs between any two versions in more places than anyone reads."""
    facts = asdict(card)
    facts["metrics"] = {key: value for key, value in card.metrics.items() if key != "history"}
    if card.verdict:
        checks = card.verdict.get("checks", [])
        facts["verdict"] = card.verdict | {"checks": {each["name"]: each["sentence"] for each in checks}}
    del facts["files"]
    return facts


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
