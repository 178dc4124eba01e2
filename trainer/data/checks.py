"""Checks of a data set before training: its statistics against a schema.

The schema is `schema.json` in the data's own folder, else that of `schema.json` beside this file for the sets that this
project knows, else general rules. A run writes the statistics that it found into its directory, with a schema that they
fulfil, to start one's own from.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.cache import parts
from trainer.data.dataset import DataError, ImageDataset, Split

KNOWN = Path(__file__).with_name("schema.json")
SPELLED_OUT = 5  # anomalies of one kind that a message lists


class AnomalyError(DataError):
    """Data that should not be trained on; the message lists why."""


@dataclass(frozen=True)
class Schema:
    """What is expected of a data set; a field that is None is not checked.

    Attributes:
        dtype, shape: of the images.
        range: the lowest and the highest pixel that may occur.
        classes: the class names, in the order of the labels.
        images: how many, by split.
        smallest_class: the least share of a split's images that each class must have, times the number of classes:
            1 is perfect balance.
        duplicates: the largest share of a split that may equal earlier images of it.
        shared: the largest share of a split that may occur in another too; the model would be tested on training data.
    """

    dtype: str = "uint8"
    shape: tuple[int, ...] | None = None
    range: tuple[int, ...] = (0, 255)
    classes: tuple[str, ...] | None = None
    images: Mapping[str, int] | None = None
    smallest_class: float = 0.05
    duplicates: float = 0.1
    shared: float = 0.01


@dataclass(frozen=True)
class SplitStatistics:
    """What one split holds.

    Attributes:
        images: how many.
        classes: how many of each class, by its name.
        mean, deviation: of all pixels, 0..255.
        lowest, highest: pixel found.
        duplicates: images that equal an earlier one of the split, byte by byte.
    """

    images: int
    classes: dict[str, int]
    mean: float
    deviation: float
    lowest: int
    highest: int
    duplicates: int


@dataclass(frozen=True)
class Statistics:
    """What a data set holds; `shared` counts the images of the second split that are in the first too."""

    dtype: str
    shape: tuple[int, int, int]
    splits: dict[str, SplitStatistics]
    shared: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set, and a sentence for each way in which that is not as the schema says."""

    statistics: Statistics
    anomalies: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.statistics), "anomalies": list(self.anomalies)}


def inspect(dataset: ImageDataset, allow_anomalies: bool = False) -> Inspection:
    """Checks a data set before anything is trained on it.

    Raises:
        AnomalyError: there are anomalies, and they are not allowed.
        DataError: its schema file holds no schema.
    """
    schema, found = schema_for(dataset), statistics(dataset)
    inspection = Inspection(found, tuple(anomalies(dataset, found, schema)))
    if inspection.anomalies and not allow_anomalies:
        listed = "\n".join(f"  - {each}" for each in inspection.anomalies)
        raise AnomalyError(f"The data has anomalies:\n{listed}\nTo train on it nevertheless, pass --allow-anomalies.")
    for each in inspection.anomalies:
        print(f"Allowed: {each}", flush=True)
    return inspection


def schema_for(dataset: ImageDataset) -> Schema:
    """The schema of a data set: its folder's own, this project's, or the general rules.

    Raises:
        DataError: a schema file that holds no schema.
    """
    if not dataset.schema:
        return _schema(json.loads(KNOWN.read_text()).get(dataset.known, {}))
    try:
        return _schema(json.loads(dataset.schema.read_text()))
    except (OSError, ValueError, TypeError) as error:
        names = ", ".join(each.name for each in fields(Schema))
        raise DataError(f"{dataset.schema}: expected a JSON object with some of {names} ({error}).") from error


def fulfilled_by(dataset: ImageDataset, found: Statistics) -> Schema:
    """A schema that names what was found: a start for a folder's own `schema.json`."""
    counts = {name: split.images for name, split in found.splits.items()}
    return Schema(shape=found.shape, classes=dataset.classes, images=counts)


def statistics(dataset: ImageDataset) -> Statistics:
    """Reads every image once; memory stays bounded whatever the data set's size."""
    splits, digests = {}, {}
    for name, split in dataset.splits.items():
        splits[name], digests[name] = _of_split(split, dataset.classes)
    shared = {
        f"{first}/{second}": sum(count for digest, count in digests[second].items() if digest in digests[first])
        for first, second in itertools.combinations(splits, 2)
    }
    return Statistics(str(dataset.train.images.dtype), dataset.shape, splits, shared)


def anomalies(dataset: ImageDataset, found: Statistics, schema: Schema) -> list[str]:
    """A sentence for each way in which the data is not as the schema says."""
    rest = len(dataset.left_out) - SPELLED_OUT
    more = [f"... and {rest} more that are left out."] if rest > 0 else []
    wanted = {
        "images of dtype": (schema.dtype, found.dtype),
        "images of shape": (schema.shape, found.shape),
        "the classes": (schema.classes, dataset.classes),
    }
    differing = [
        f"Expected {what} {expected}, found {came}."
        for what, (expected, came) in wanted.items()
        if expected is not None and expected != came
    ]
    of_splits = [each for name, split in found.splits.items() for each in _split_anomalies(name, split, schema)]
    shared: list[str] = []
    for pair, count in found.shared.items():
        first, second = pair.split("/")
        what = f"{second} images that are among the {first} images too"
        shared += _repeated(what, count, found.splits[second].images, schema.shared)
    return [*dataset.left_out[:SPELLED_OUT], *more, *differing, *of_splits, *shared]


def _schema(content: object) -> Schema:
    """The schema in a JSON value, whose lists become tuples."""
    if not isinstance(content, dict):
        raise TypeError(f"Received: {str(content)[:40]}")
    images = {"train": 48_000, "validation": 12_000, "test": 10_000}
    example = asdict(Schema(shape=(28, 28, 1), classes=("cat", "dog"), images=images))
    if unknown := sorted(set(content) - set(example)):
        raise TypeError(f"Received: {', '.join(unknown)}")
    given: dict[str, Any] = {name: value for name, value in content.items() if value is not None}
    for name, value in given.items():
        if not _is_like(value, example[name]):
            raise TypeError(f"`{name}` must be like {json.dumps(example[name])}. Received: {json.dumps(value)}")
    return Schema(**given | {name: tuple(value) for name, value in given.items() if isinstance(value, list)})


def _is_like(value: object, example: object) -> bool:
    """Whether a JSON value has the type of the example, and a list of numbers its length, too."""
    if isinstance(value, list) and isinstance(example, tuple):
        right_length = len(value) == len(example) or isinstance(example[0], str)
        return right_length and all(_is_like(each, example[0]) for each in value)
    if isinstance(value, dict) and isinstance(example, dict):
        return set(value) <= set(example) and all(type(each) is int for each in value.values())
    return type(value) is type(example) or (type(value) is int and isinstance(example, float))  # True is no number


def _of_split(split: Split, classes: Sequence[str]) -> tuple[SplitStatistics, Counter[bytes]]:
    """The statistics of a split, and how often each image occurs, by its hash."""
    pixels, digests = np.zeros(256, np.int64), Counter[bytes]()
    for part in parts(len(split), split.images.shape[1:]):
        images = np.ascontiguousarray(split.images[part])
        digests.update(hashlib.blake2b(image.data, digest_size=16).digest() for image in images)
        pixels += np.bincount(images.ravel(), minlength=256)
    mean = np.average(np.arange(256), weights=pixels)
    variance = np.average((np.arange(256) - mean) ** 2, weights=pixels)
    present = np.flatnonzero(pixels)
    of_class = np.bincount(split.labels, minlength=len(classes))
    found = SplitStatistics(
        images=len(split),
        classes=dict(zip(classes, of_class.tolist(), strict=True)),
        mean=round(float(mean), 4),
        deviation=round(float(variance**0.5), 4),
        lowest=int(present[0]),
        highest=int(present[-1]),
        duplicates=len(split) - len(digests),
    )
    return found, digests


def _split_anomalies(name: str, split: SplitStatistics, schema: Schema) -> list[str]:
    found = []
    if split.images != (expected := (schema.images or {}).get(name, split.images)):
        found.append(f"Expected {expected:,} {name} images, found {split.images:,}.")
    low, high = schema.range
    if split.lowest < low or split.highest > high:
        found.append(f"Expected {name} pixels from {low} to {high}, found {split.lowest} to {split.highest}.")
    if split.lowest == split.highest:
        found.append(f"Expected {name} images with something on them, found every pixel to be {split.lowest}.")
    least = max(1, math.ceil(schema.smallest_class * split.images / len(split.classes)))
    if few := [f"{count:,} of {label}" for label, count in split.classes.items() if count < least]:
        rest = f" and {len(few) - SPELLED_OUT} more" if len(few) > SPELLED_OUT else ""
        named = f"{', '.join(few[:SPELLED_OUT])}{rest}"
        found.append(f"Expected at least {least:,} {name} images of each class, found {named}: add more.")
    return found + _repeated(f"{name} images that equal another", split.duplicates, split.images, schema.duplicates)


def _repeated(what: str, count: int, of: int, share: float) -> list[str]:
    most = math.floor(share * of)
    return [f"Expected at most {most:,} {what}, found {count:,} of {of:,}."] if count > most else []
