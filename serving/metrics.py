"""Metrics: each worker counts in its memory and writes that to a file once a second; any worker answers for all.

prometheus_client's own way for several processes maps files into memory: each value costs microseconds, and a full
disk ends the process by SIGBUS.
"""

import math
import os
import re
import tempfile
import threading
from collections import Counter as Tally
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from serving.settings import SettingsError

PREFIX = "serving-metrics-"  # of a directory that is made here, because none was named
BY_PROCESS = {"serving_model_version", "serving_model_load_seconds"}
MAX_PENDING = 256  # replies that are counted at a time
_OWN = re.compile(r"worker-\d+\.(json|new)")

Labels = tuple[tuple[str, str], ...]
Reply = tuple[str, int, str, float]  # protocol, status code, version that answered, and seconds since its request
Prediction = tuple[dict[str, float], int, NDArray[np.float32], tuple[str, ...]]  # as `count_prediction` takes it

_sharing = threading.Lock()
_counting = threading.Lock()
_replies: list[Reply] = []
_predictions: list[Prediction] = []

disable_created_metrics()
REGISTRY = CollectorRegistry()


class _Pending(Collector):
    """Counts what is pending. It is registered, and so collected, before all others."""

    def collect(self) -> Iterable[Metric]:
        _count_pending()
        return ()


class Histogram(Collector):
    """A histogram that takes many values at once; prometheus_client's own takes them one by one.

    Args:
        name, documentation: as Prometheus shows them.
        bounds: the upper bounds of the buckets, without the infinite one.
        label: the name of its only label, None for a histogram without one.
    """

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...], label: str | None = None) -> None:
        self._about = name, documentation
        self._bounds = np.array(bounds)
        self._label = label
        self._counts: dict[str, NDArray[np.int64]] = {} if label else {"": np.zeros(len(bounds) + 1, np.int64)}
        self._sums: dict[str, float] = {} if label else {"": 0.0}
        REGISTRY.register(self)

    def observe(self, values: list[float], label: str = "") -> None:
        """Count `values` under this value of the label."""
        counts = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._bounds) + 1)
        self._counts[label] = self._counts.get(label, 0) + counts
        self._sums[label] = self._sums.get(label, 0.0) + sum(values)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(*self._about, labels=[self._label] if self._label else None)
        bounds = [floatToGoString(bound) for bound in (*self._bounds.tolist(), math.inf)]
        for label, counts in [*self._counts.items()]:  # others may count meanwhile
            buckets = list(zip(bounds, counts.cumsum().tolist(), strict=True))
            family.add_metric([label] if self._label else [], buckets, self._sums[label])
        return [family]


REGISTRY.register(_Pending())
# Seconds; from one image on an idle machine to the deadline of an overloaded one.
_TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

REQUESTS = Counter(
    "serving_requests",
    "Requests by protocol, status code and version that answered.",
    ("protocol", "code", "version"),
    registry=REGISTRY,
)
LATENCY = Histogram("serving_request_seconds", "Seconds from arrival to reply.", _TIMES, "protocol")
PHASES = Histogram("serving_phase_seconds", "Seconds of a prediction: parse, queue and compute.", _TIMES, "phase")
BATCH = Histogram(
    "serving_batch_images", "Images of the model run that a request was part of.", (1, 2, 4, 8, 16, 32, 64, 256)
)
QUEUE = Gauge("serving_queue_requests", "Requests that wait for a thread or for the model.", registry=REGISTRY)
REJECTED = Counter("serving_rejected", "Requests that were not served in time.", ("reason",), registry=REGISTRY)
CLASSES = Counter("serving_predicted_classes", "Images by predicted class.", ("label",), registry=REGISTRY)
CONFIDENCE = Histogram("serving_confidence", "Highest probability of each image.", _SHARES)
VERSION = Gauge("serving_model_version", "Version that is served, by process.", ("model",), registry=REGISTRY)
LOADING = Gauge("serving_model_load_seconds", "Seconds that its loading took, by process.", registry=REGISTRY)
FAILURES = Counter("serving_model_load_failures", "Attempts to load a version that failed.", registry=REGISTRY)
LOOK_FAILURES = Counter("serving_registry_look_failures", "Looks at the registry that failed.", registry=REGISTRY)


def count_reply(protocol: str, code: int, version: str, seconds: float) -> None:
    """Count a reply and the seconds since its request arrived: with others, and before the next scrape."""
    _replies.append((protocol, code, version, seconds))
    if len(_replies) >= MAX_PENDING:
        _count_pending()


def count_prediction(
    phases: dict[str, float], batch: int, probabilities: NDArray[np.float32], classes: tuple[str, ...]
) -> None:
    """Count a prediction: seconds by phase, images of its run, and probabilities of shape (n, classes)."""
    _predictions.append((phases, batch, probabilities, classes))
    if len(probabilities) > 1:  # so that what is pending takes little memory
        _count_pending()


def _count_pending() -> None:
    """Count the replies and predictions of the last moment: one value of many costs a tenth of one alone."""
    with _counting:
        replies, predictions = _replies.copy(), _predictions.copy()
        del _replies[: len(replies)], _predictions[: len(predictions)]
        for key, count in Tally(reply[:3] for reply in replies).items():
            REQUESTS.labels(*key).inc(count)
        for protocol, seconds in _grouped((reply[0], reply[3]) for reply in replies).items():
            LATENCY.observe(seconds, protocol)
        for phase, seconds in _grouped(each for phases, *_ in predictions for each in phases.items()).items():
            PHASES.observe(seconds, phase)
        BATCH.observe([batch for _, batch, *_ in predictions])
        for classes, arrays in _grouped((classes, array) for *_, array, classes in predictions).items():
            probabilities = np.concatenate(arrays)
            for index, count in Tally(probabilities.argmax(axis=1).tolist()).items():
                CLASSES.labels(classes[index]).inc(count)
            highest = probabilities.max(axis=1)
            CONFIDENCE.observe(highest[highest == highest].tolist())  # a broken model may answer NaN


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def prepare(named: Path | None) -> Path:
    """The directory by which workers share their metrics: `named`, or else a new one. An earlier start's files go.

    Raises:
        SettingsError: `named` cannot be written to.
        OSError: a new one cannot be made.
    """
    if named is None:
        return Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        named.mkdir(parents=True, exist_ok=True)
        for path in _files(named):
            path.unlink()
    except OSError as error:
        raise SettingsError(f"METRICS_DIRECTORY must be a directory to write to. Received: {error}.") from error
    return named


def remove(directory: Path) -> None:
    """Remove the files of all workers, and the directory if it was made here and nothing else lies in it."""
    with suppress(OSError):
        for path in _files(directory):
            path.unlink()
        if directory.name.startswith(PREFIX):
            directory.rmdir()


def share(directory: Path) -> str:
    """Write this worker's metrics for the others; returns what went wrong, such as a full disk, or nothing.

    A file that is half written would be of no use, so it is replaced whole.
    """
    families = [
        (
            each.name,
            each.documentation,
            each.type,
            [(sample.name, sample.labels, sample.value) for sample in each.samples],
        )
        for each in REGISTRY.collect()
    ]
    path = directory / f"worker-{os.getpid()}.json"
    scratch = path.with_suffix(".new")
    try:
        directory.mkdir(parents=True, exist_ok=True)  # something may have cleaned it up
        with _sharing:  # two scrapes at once, or one beside the clock, would write into one another's file
            scratch.write_bytes(orjson.dumps(families))
            scratch.replace(path)
    except OSError as error:
        return str(error)
    return ""


def retire(directory: Path, process: int) -> None:
    """Keep of a worker that ended what still counts, and forget its gauges."""
    path = directory / f"worker-{process}.json"
    with suppress(OSError):
        families = orjson.loads(path.read_bytes())
        scratch = path.with_suffix(".new")
        scratch.write_bytes(orjson.dumps([each for each in families if each[2] != "gauge"]))
        scratch.replace(path)  # a worker may be reading it, and the disk may be full


def exposition(directory: Path | None) -> bytes:
    """The metrics of all workers, running and ended, in Prometheus' text format; this one's where none are shared."""
    if directory is None or share(directory):
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(_Sum(directory))
    return generate_latest(registry)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if _OWN.fullmatch(path.name)]


class _Sum(Collector):
    """The metrics of several processes: summed, but for gauges that are told apart by process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        values: dict[tuple[str, str, Labels], float] = {}
        for path in _files(self._directory):
            if path.suffix != ".json":
                continue  # a worker is writing it
            for name, documentation, kind, samples in orjson.loads(path.read_bytes()):
                merged.setdefault(name, Metric(name, documentation, kind))
                process = (("pid", path.stem.partition("-")[2]),) if name in BY_PROCESS else ()
                for sample, labels, value in samples:
                    key = name, sample, (*labels.items(), *process)
                    values[key] = values.get(key, 0.0) + value
        for (name, sample, labels), value in values.items():
            merged[name].add_sample(sample, dict(labels), value)
        return merged.values()
