"""A version's whole story in plain text, told from what is on disk alone."""

from typing import Any

from registry.card import CardError, ModelCard
from registry.store import ModelStore
from registry.tables import accuracy, flat, moment, shown, table

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60  # characters of a training curve; a longer training is thinned to as many


def story(store: ModelStore, version: int) -> str:
    """Data, config, code, training, evaluation, verdict, search, and what `version` replaced."""
    card = store.card(version)
    config = {key: value for key, value in card.config.items() if key != "search"}
    metrics = {key: value for key, value in card.metrics.items() if key != "history"}
    history = card.metrics.get("history")
    code = {"commit": card.commit or "not from a git checkout", **card.libraries}
    sections = {
        f"{card.name} version {version}": _opening(store, version, card),
        "Data": _pairs(card.data),
        "Config": _pairs(config),
        "Search": _pairs(_dict(card.config.get("search"))),
        "Code and libraries": _pairs(code),
        "Training": _curves(history) if isinstance(history, dict) else "",
        "Evaluation": _pairs(metrics),
        "Gate": _verdict(card.verdict),
    }
    return "\n\n".join(f"{title}\n{_indented(text)}" for title, text in sections.items() if text)


def sparkline(values: list[Any]) -> str:
    """Numbers as a line of blocks, lowest to highest; a gap where there is none. At most 60 characters."""
    step = max(1.0, len(values) / _WIDTH)
    values = [values[int(i * step)] for i in range(round(len(values) / step))]
    numbers = [value for value in values if value is not None]
    low, high = min(numbers, default=0), max(numbers, default=0)
    top = len(_BLOCKS) - 1
    return "".join(
        " " if value is None else _BLOCKS[round((value - low) / (high - low) * top) if high > low else 0]
        for value in values
    )


def _opening(store: ModelStore, version: int, card: ModelCard) -> str:
    served = version == store.served()
    how = "because it is pinned" if store.pinned() else "as the newest"
    facts = {
        "served": f"yes, {how}" if served else f"no, version {store.served()} is",
        "created": f"{moment(card.created)} UTC by run {card.run}",
        "replaced": _replaced(store, version),
        "takes": _tensor(card.input),
        "gives": _tensor(card.output),
        "classes": ", ".join(card.classes),
    }
    return _pairs(facts)


def _tensor(spec: Any) -> str:
    return f"{spec.name}: {spec.dtype} of shape {(None, *spec.shape)}".replace("None", "batch")


def _replaced(store: ModelStore, version: int) -> str:
    before = max((each for each in store.versions() if each < version), default=None)
    if before is None:
        return "nothing: it is the first" if version == 1 else "a version that is no longer here"
    try:
        return f"version {before}, test accuracy {accuracy(store.card(before))}"
    except CardError:
        return f"version {before}, whose card is damaged"


def _curves(history: dict[str, Any]) -> str:
    rows = []
    for name, values in history.items():
        numbers = [value for value in values if value is not None] if isinstance(values, list) else []
        if numbers:
            # Of a loss the least is best, of an accuracy the most; of anything else nobody said.
            best = min(numbers) if "loss" in name else max(numbers) if "accuracy" in name else None
            epoch = "" if best is None else f"best {shown(best)} in epoch {values.index(best) + 1} of {len(values)}"
            rows.append([name, sparkline(values), f"{shown(numbers[0])} to {shown(numbers[-1])}", epoch])
    return table(rows) if rows else ""


def _verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "not judged"
    outcome = "accepted" if verdict.get("accepted") else "refused"
    lines = [f"{outcome}, forced: {verdict['forced']}" if verdict.get("forced") else outcome]
    rows = [
        [
            "passed" if check.get("passed") else "FAILED",
            check.get("name", "?"),
            f"{shown(check.get('value'))} against {shown(check.get('threshold'))}",
            check.get("sentence", ""),
        ]
        for check in verdict.get("checks", [])
    ]
    return "\n".join([*lines, *([table(rows)] if rows else [])])


def _dict(value: Any) -> dict[str, Any]:
    """A search named by a dict of facts or by a bare name, as facts; nothing as none."""
    return value if isinstance(value, dict) else {"name": value} if value else {}


def _pairs(facts: dict[str, Any]) -> str:
    rows = [[key, shown(value)] for key, value in flat(facts).items()]
    return table(rows) if rows else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
