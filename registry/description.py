"""Versions as plain text: a list of all, what one is, what two differ in; all of it from what is on disk."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from registry.card import CardError, ModelCard, TensorSpec
from registry.errors import RegistryError
from registry.store import ModelStore
from registry.text import counted, flatten, table

_WIDEST = 40  # characters of a value in a comparison; a sha256 is cut, and its beginning tells it apart
_SCREEN = 100  # of one where a version is explained on one screen
_BLOCKS = "▁▂▃▄▅▆▇█"
_POINTS = 60  # of a training curve; a longer training is thinned to as many


def listing(stores: Sequence[ModelStore]) -> str:
    """One line a version, oldest first, with what the gate said and a mark on the version that is served.

    What is wrong with a pin is said below the table.
    """
    rows, notes = [["name", "version", "created (UTC)", "model", "test accuracy", "gate", ""]], []
    for store in stores:
        try:
            served, pinned = store.served(), store.pinned()
        except RegistryError as error:
            served = pinned = None
            notes.append(str(error))
        for version in store.versions():
            mark = ("served, pinned" if pinned else "served") if version == served else ""
            rows.append([store.name, str(version), *_row(store, version, mark)])
    return "\n".join([table(rows), *notes])


def _row(store: ModelStore, version: int, mark: str) -> list[str]:
    try:
        card = store.card(version)
    except (CardError, RegistryError):  # damaged, or pruned meanwhile
        return ["?", "?", "?", "?", f"damaged card: see verify {version}"]
    model = _value(card.config.get("model", "-"))
    return [_time(card.created), model, _accuracy(card), _outcome(card.verdict), mark]


def comparison(store: ModelStore, first: int, second: int) -> str:
    """The facts in which the cards of two versions differ, one a line; numbers with their difference."""
    one, two = (_facts(store.card(version)) for version in (first, second))
    rows = [["", f"version {first}", f"version {second}", "difference"]]
    for key in dict.fromkeys([*one, *two]):
        left, right = one.get(key, "-"), two.get(key, "-")
        if left != right:
            numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
            rows.append([key, _cut(_value(left)), _cut(_value(right)), f"{right - left:+.4g}" if numbers else ""])
    return table(rows) if len(rows) > 1 else f"Versions {first} and {second} differ in nothing."


def explanation(store: ModelStore, version: int) -> str:
    """What matters of `version` on one screen: what it is, how good, what the gate said, and what it replaced."""
    card = store.card(version)
    facts = {**_overview(store, version, card), **_results(card)}
    sections = {
        f"{card.name} version {version}": _pairs({name: _cut(fact, _SCREEN) for name, fact in facts.items() if fact}),
        "Gate": _verdict(card.verdict, short=True),
        "More": f".venv/bin/python -m registry explain {version} --all --name {card.name}",
    }
    return _sections(sections)


def whole_explanation(store: ModelStore, version: int) -> str:
    """All that is known of `version`: data, config, code, training, evaluation, verdict, and what it replaced."""
    card = store.card(version)
    sections = {
        f"{card.name} version {version}": _pairs(_overview(store, version, card)),
        "Data": _pairs(card.data),
        "Config": _pairs(card.config),
        "Code and libraries": _pairs({"commit": card.commit or "not from a git checkout", **card.libraries}),
        "Training": table(list(_curves(card.metrics.get("history", {})))),
        "Evaluation": _pairs(_measures(card)),
        "Gate": _verdict(card.verdict),
    }
    return _sections(sections)


def _sections(sections: dict[str, str]) -> str:
    return "\n\n".join(f"{title}\n{_indented(text)}" for title, text in sections.items() if text)


def _results(card: ModelCard) -> dict[str, str]:
    """The data, the model and how good it is, a line each; empty where the card does not have it."""
    data, metrics, images = card.data, card.metrics, card.data.get("images", {})
    history, recalls = metrics.get("history", {}).get("val_accuracy", []), metrics.get("per_class", {})
    lowest = min(recalls, key=lambda name: recalls[name]["recall"], default=None)
    return {
        "data": ", ".join([str(data.get("dataset", "")), *(f"{count:,} {split}" for split, count in images.items())]),
        "model": ", ".join(
            [
                str(card.config.get("model", "")),
                *([f"{metrics['parameters']:,} parameters"] if "parameters" in metrics else []),
                *([counted(len(history), "epoch")] if history else []),
            ]
        ),
        "accuracy": f"{_accuracy(card)} on test images" if "test_accuracy" in metrics else "",
        "lowest recall": f"{_value(recalls[lowest]['recall'])}, of {lowest}" if lowest else "",
    }


def _overview(store: ModelStore, version: int, card: ModelCard) -> dict[str, str]:
    how = "because it is pinned" if store.pinned() else "as the newest"
    served = store.served()
    return {
        "served": f"yes, {how}" if served == version else f"no, version {served} is",
        "created": f"{_time(card.created)} UTC by run {card.run}",
        "replaced": _replaced(store, version, card),
        "takes": _tensor(card.input),
        "gives": _tensor(card.output),
        "classes": ", ".join(card.classes),
    }


def _replaced(store: ModelStore, version: int, card: ModelCard) -> str:
    """The version that was served when this one was pushed, as its verdict tells, else the one before it."""
    before = (card.verdict or {}).get("against")
    if before not in store.versions():
        before = max((each for each in store.versions() if each < version), default=None)
    if before is None:
        return "nothing: it is the first" if version == 1 else "a version that is no longer here"
    try:
        return f"version {before}, test accuracy {_accuracy(store.card(before))}"
    except CardError:
        return f"version {before}, whose card is damaged"


def _curves(history: dict[str, list[float | None]]) -> Iterator[list[str]]:
    """A row for each metric of the training: its curve, where it began and ended, and its best epoch."""
    for name, values in history.items():
        numbers = [value for value in values if value is not None]
        if numbers:
            # The lowest loss is best, and the highest accuracy; nothing is known of other metrics.
            best = min(numbers) if "loss" in name else max(numbers) if "accuracy" in name else None
            epoch = "" if best is None else f"best {_value(best)} in epoch {values.index(best) + 1} of {len(values)}"
            yield [name, _sparkline(values), f"{_value(numbers[0])} to {_value(numbers[-1])}", epoch]


def _sparkline(values: list[float | None]) -> str:
    """Numbers as a line of blocks, lowest to highest; a gap where there is none. At most 60 characters."""
    step = max(1.0, len(values) / _POINTS)
    values = [values[int(i * step)] for i in range(round(len(values) / step))]
    numbers = [value for value in values if value is not None]
    low, high = min(numbers, default=0), max(numbers, default=0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0
    return "".join(" " if value is None else _BLOCKS[round((value - low) * scale)] for value in values)


def _outcome(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "not judged"
    return ("accepted" if verdict.get("accepted") else "refused") + (", forced" if verdict.get("forced") else "")


def _verdict(verdict: dict[str, Any] | None, short: bool = False) -> str:
    """The outcome and a line a check, with its sentence; `short`: only where it failed."""
    outcome = _outcome(verdict)
    if verdict is None:
        return outcome
    if verdict.get("forced"):
        by = f" by {verdict['forced_by']}" if verdict.get("forced_by") else ""
        outcome = f"{outcome}{by}: {verdict['forced']}"
    compared = f", compared with version {verdict['against']}" if verdict.get("against") else ""
    rows = [
        [
            "passed" if check["passed"] else "FAILED",
            check["name"],
            f"{_value(check['value'])} against {_value(check['threshold'])}",
            "" if short and check["passed"] else check["sentence"],
        ]
        for check in verdict.get("checks", [])
    ]
    return f"{outcome}{compared}\n{table(rows)}"


def _facts(card: ModelCard) -> dict[str, Any]:
    """What two versions are compared by: the card without its files, a check by its sentence."""
    facts = asdict(card) | {"metrics": _measures(card)}
    if card.verdict:
        checks = card.verdict.get("checks", [])
        facts["verdict"] = card.verdict | {"checks": {each["name"]: each["sentence"] for each in checks}}
    del facts["files"]
    return flatten(facts)


def _measures(card: ModelCard) -> dict[str, Any]:
    """The metrics without lists, but for the interval: no values by epoch, no confusion matrix.

    `best_epoch` of older cards counts from 0; the training curves tell it.
    """
    leaves = flatten(card.metrics)
    return {
        key: value
        for key, value in leaves.items()
        if key == "test_interval" or (key != "best_epoch" and not isinstance(value, list))
    }


def _accuracy(card: ModelCard) -> str:
    """The test accuracy with its interval, to four places, as far as the card has them."""
    found, interval = card.metrics.get("test_accuracy"), card.metrics.get("test_interval")
    if not isinstance(found, float):
        return "-"
    return f"{found:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else f"{found:.4f}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} of shape (batch, {', '.join(map(str, spec.shape))})"


def _value(value: Any) -> str:
    """A value of a card, for people: floats to four figures, long lists as their length."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value]
        return f"[{', '.join(items)}]" if len(items) <= 10 else f"{len(items)} values"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _time(created: str) -> str:
    return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M}"


def _pairs(facts: dict[str, Any]) -> str:
    return table([[key, _value(value)] for key, value in flatten(facts).items()])


def _cut(text: str, widest: int = _WIDEST) -> str:
    return text if len(text) <= widest else text[: widest - 3] + "..."


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
