"""Metrics: each worker counts in its memory and writes that to a file once a second; any worker answers for all.

prometheus_client's own way for several processes maps files into memory: each value costs microseconds, and a full
disk ends the process by SIGBUS.
"""

import os
import re
import tempfile
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from serving.settings import SettingsError

PREFIX = "serving-metrics-"  # of a directory that is made here, because none was named
BY_PROCESS = {"serving_ready", "serving_model_version", "serving_model_load_seconds"}
MAX_PENDING = 128  # calls
_OWN = re.compile(r"worker-\d+\.(json|new)")

Labels = tuple[tuple[str, str], ...]

_lock = threading.Lock()  # scrapes, of which there may be two at once, run beside the event loop
_pending: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()  # functions of this file and their arguments

disable_created_metrics()
REGISTRY = CollectorRegistry()


class _Pending(Collector):
    """Counts what is pending. It is registered, and so collected, before all others."""

    def collect(self) -> Iterable[Metric]:
        _count_pending()
        return ()


REGISTRY.register(_Pending())
# Seconds; from one image on an idle machine to the deadline of an overloaded one.
_TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

REQUESTS = Counter(
    "serving_requests",
    "Requests by protocol, status code, and model and version that answered.",
    ("protocol", "code", "model", "version"),
    registry=REGISTRY,
)
LATENCY = Histogram(
    "serving_request_seconds",
    "Seconds from the arrival of the whole request to the reply.",
    ("protocol",),
    buckets=_TIMES,
    registry=REGISTRY,
)
PHASES = Histogram(
    "serving_phase_seconds",
    "Seconds of a prediction: parse, queue and compute.",
    ("phase",),
    buckets=_TIMES,
    registry=REGISTRY,
)
BATCH = Histogram(
    "serving_batch_images",
    "Images of the model run that a request was part of.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 256),
    registry=REGISTRY,
)
QUEUE = Gauge("serving_queue_requests", "Requests that wait for a thread or for the model.", registry=REGISTRY)
REJECTED = Counter("serving_rejected", "Requests that were not served in time.", ("reason",), registry=REGISTRY)
CLASSES = Counter("serving_predicted_classes", "Images by predicted class.", ("model", "label"), registry=REGISTRY)
CONFIDENCE = Histogram(
    "serving_confidence", "Highest probability of each image.", ("model",), buckets=_SHARES, registry=REGISTRY
)
READY = Gauge("serving_ready", "1 where the default model is loaded, else 0, by process.", registry=REGISTRY)
VERSION = Gauge("serving_model_version", "Version that is served, by process.", ("model",), registry=REGISTRY)
LOADING = Gauge(
    "serving_model_load_seconds", "Seconds that its loading took, by process.", ("model",), registry=REGISTRY
)
FAILURES = Counter("serving_model_load_failures", "Attempts to load a version that failed.", registry=REGISTRY)
READ_FAILURES = Counter("serving_registry_read_failures", "Reads of the registry that failed.", registry=REGISTRY)


# One look-up instead of a lock, a tuple and a dictionary for each value.
_requests: Any = cache(REQUESTS.labels)
_latency: Any = cache(LATENCY.labels)
_phases: Any = cache(PHASES.labels)
_classes: Any = cache(CLASSES.labels)
_confidence: Any = cache(CONFIDENCE.labels)


def later(count: Callable[..., None], *arguments: Any) -> None:
    """Call `count` within a second, before the next scrape; a call among others takes less time than one alone."""
    _pending.append((count, arguments))
    if len(_pending) >= MAX_PENDING:
        _count_pending()


def _count_pending() -> None:
    with _lock:
        while _pending:
            count, arguments = _pending.popleft()
            count(*arguments)


def count_reply(protocol: str, code: int, model: str, version: str, seconds: float, rejected: str | None) -> None:
    """Count a reply and the seconds since the whole request had arrived."""
    _requests(protocol, code, model, version).inc()
    _latency(protocol).observe(seconds)
    if rejected:
        REJECTED.labels(rejected).inc()


def count_prediction(
    phases: dict[str, float], batch: int, probabilities: NDArray[np.float32], classes: tuple[str, ...], model: str
) -> None:
    """Count a prediction: seconds by phase, images of its run, and the model's probabilities (n, classes)."""
    for phase, seconds in phases.items():
        _phases(phase).observe(seconds)
    BATCH.observe(batch)
    for index, count in Tally(probabilities.argmax(axis=1).tolist()).items():
        _classes(model, classes[index]).inc(count)
    for confidence in probabilities.max(axis=1).tolist():
        if confidence == confidence:  # a broken model may answer NaN, which would stay in the sum
            _confidence(model).observe(confidence)


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
        with _lock:  # or two of them would write into the same file
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
