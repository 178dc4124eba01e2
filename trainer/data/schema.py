"""Validation before training: a data set's statistics, held against what it should be.

A schema is data: `schema.json` beside this file for the sets that this project knows, or in a user's own folder.
A set without a schema is held against general rules only. A run writes the statistics it found into its directory,
with a schema that they fulfil, to start one's own from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trainer.data.dataset import DataError, ImageDataset
from trainer.data.statistics import SplitStatistics, Statistics, statistics

KNOWN = Path(__file__).with_name("schema.json")
SHOWN = 5  # anomalies of one kind that are spelled out


class AnomalyError(DataError):
    """Data that should not be trained on; the message lists why."""


@dataclass(frozen=True)
class Schema:
    """What a data set should be; a field that is None is not checked.

    Attributes:
        dtype, shape: of the images.
        range: the lowest and the highest pixel that may occur.
        classes: the class names, in the order of the labels.
        images: how many, by split.
        smallest_class: the least share of a split's images that each class must have, times the number of classes:
            1 is perfect balance.
        duplicates: the largest share of a split that may equal earlier images of it.
        shared: the largest share of a split that may occur in another too; it would be tested on what it learned.
    """

    dtype: str = "uint8"
    shape: tuple[int, int, int] | None = None
    range: tuple[int, int] = (0, 255)
    classes: tuple[str, ...] | None = None
    images: Mapping[str, int] | None = None
    smallest_class: float = 0.05
    duplicates: float = 0.1
    shared: float = 0.01

    def __post_init__(self) -> None:
        """Refuses what a file may hold instead of the right types.

        Raises:
            TypeError: a field of another type.
        """
        whole = {"shape": (self.shape, 3), "range": (self.range, 2)}
        for name, (numbers, count) in whole.items():
            if numbers is not None and not (_is(tuple, numbers) and len(numbers) == count and _all(int, numbers)):
                raise TypeError(f"`{name}` must be {count} whole numbers. Received: {numbers}.")
        if self.classes is not None and not (_is(tuple, self.classes) and _all(str, self.classes)):
            raise TypeError(f"`classes` must be a list of names. Received: {self.classes}.")
        if self.images is not None and not (_is(dict, self.images) and _all(int, self.images.values())):
            raise TypeError(f"`images` must be a number by split. Received: {self.images}.")
        for name in ("smallest_class", "duplicates", "shared"):
            if not _all((int, float), [getattr(self, name)]):
                raise TypeError(f"`{name}` must be a number. Received: {getattr(self, name)}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set, and every way in which that is not what it should be, in words."""

    statistics: Statistics
    anomalies: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**self.statistics.to_json(), "anomalies": list(self.anomalies)}


def schema_for(dataset: ImageDataset) -> Schema:
    """The schema of a data set: its folder's own, this project's, or the general rules.

    Raises:
        DataError: a schema file that is none.
    """
    if dataset.schema:
        try:
            return _parsed(json.loads(dataset.schema.read_text()))
        except (OSError, ValueError, TypeError) as error:
            names = ", ".join(each.name for each in fields(Schema))
            raise DataError(f"{dataset.schema}: expected a JSON object with some of {names} ({error}).") from error
    known = json.loads(KNOWN.read_text())
    return _parsed(known.get(dataset.known, {}))


def fulfilled_by(dataset: ImageDataset, found: Statistics) -> Schema:
    """A schema that names what was found: a start for a folder's own `schema.json`."""
    counts = {name: split.images for name, split in found.splits.items()}
    return Schema(shape=found.shape, classes=dataset.classes, images=counts)


def anomalies(dataset: ImageDataset, found: Statistics, schema: Schema) -> list[str]:
    """Every way in which the data is not what it should be, in words."""
    return [*_left_out(dataset.left_out), *_of_set(dataset, found, schema), *_of_splits(found, schema)]


def inspect(dataset: ImageDataset, allow_anomalies: bool = False) -> Inspection:
    """Looks at a data set before anything is trained on it.

    Raises:
        AnomalyError: it is not what it should be, and that is not allowed.
        DataError: its schema file is none.
    """
    found = statistics(dataset)
    inspection = Inspection(found, tuple(anomalies(dataset, found, schema_for(dataset))))
    _check(inspection.anomalies, allow_anomalies)
    return inspection


def _check(found: Sequence[str], allowed: bool) -> None:
    if found and not allowed:
        listed = "\n".join(f"  - {each}" for each in found)
        raise AnomalyError(
            f"The data is not what it should be:\n{listed}\nTo train on it nevertheless: --allow-anomalies."
        )
    for each in found:
        print(f"Allowed: {each}", flush=True)


def _is(kind: type | tuple[type, ...], value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _all(kind: type | tuple[type, ...], values: Iterable[object]) -> bool:
    return all(_is(kind, value) for value in values)


def _parsed(content: object) -> Schema:
    """A schema read from JSON, whose lists become tuples."""
    if not isinstance(content, dict):
        raise TypeError(f"Received: {str(content)[:40]}")
    tuples: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Schema(**tuples)


def _left_out(messages: tuple[str, ...]) -> list[str]:
    rest = len(messages) - SHOWN
    return [*messages[:SHOWN], *([f"... and {rest} more that are left out."] if rest > 0 else [])]


def _of_set(dataset: ImageDataset, found: Statistics, schema: Schema) -> list[str]:
    wanted = {
        "images of dtype": (schema.dtype, found.dtype),
        "images of shape": (schema.shape, found.shape),
        "the classes": (schema.classes, dataset.classes),
    }
    return [
        f"Expected {what} {expected}, found {came}."
        for what, (expected, came) in wanted.items()
        if expected is not None and expected != came
    ]


def _of_splits(found: Statistics, schema: Schema) -> list[str]:
    said = []
    for name, split in found.splits.items():
        expected = (schema.images or {}).get(name, split.images)
        if split.images != expected:
            said.append(f"Expected {expected:,} {name} images, found {split.images:,}.")
        if not split.images:
            said.append(f"Expected {name} images, found none.")
            continue
        low, high = schema.range
        if split.lowest < low or split.highest > high:
            said.append(f"Expected {name} pixels from {low} to {high}, found {split.lowest} to {split.highest}.")
        if split.lowest == split.highest:
            said.append(f"Expected {name} images with something on them, found every pixel to be {split.lowest}.")
        said += _balance(name, split, schema)
        said += _repeated(f"{name} images that equal another", split.duplicates, split.images, schema.duplicates)
    for pair, count in found.shared.items():
        first, second = pair.split("/")
        what = f"{second} images that are among the {first} images too"
        said += _repeated(what, count, found.splits[second].images, schema.shared)
    return said


def _balance(name: str, split: SplitStatistics, schema: Schema) -> list[str]:
    least = schema.smallest_class * split.images / len(split.classes)
    few = [f"{count:,} of {label}" for label, count in split.classes.items() if count < max(1, least)]
    rest = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
    return (
        [f"Expected at least {max(1, least):,.0f} {name} images of each class, found {', '.join(few[:SHOWN])}{rest}."]
        if few
        else []
    )


def _repeated(what: str, count: int, of: int, share: float) -> list[str]:
    most = share * of
    return [f"Expected at most {most:,.0f} {what}, found {count:,} of {of:,}."] if count > most else []
