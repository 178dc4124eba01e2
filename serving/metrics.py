"""What Prometheus is told: one registry for all workers, through files that prometheus_client shares among them.

Where they lie is PROMETHEUS_MULTIPROC_DIR, which `python -m serving` sets; the library reads it when it is imported.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from serving import metrics_directory
from serving.settings import Settings

# Seconds; from one image on an idle machine to the deadline of a drowning one.
_TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class BulkHistogram(Histogram):
    """A histogram that takes many values for the price of one."""

    def observe_all(self, amounts: Iterable[float]) -> None:
        """What `observe` does for each, with one write a bucket."""
        values = np.fromiter(amounts, float)
        values = values[~np.isnan(values)]  # which a broken model may answer, and no bucket holds
        buckets = np.bincount(np.searchsorted(self._upper_bounds, values))
        self._sum.inc(float(values.sum()))
        for index in np.flatnonzero(buckets).tolist():
            self._buckets[index].inc(int(buckets[index]))


REQUESTS = Counter(
    "serving_requests", "Requests by face, status code and version that answered.", ("face", "code", "version")
)
LATENCY = BulkHistogram("serving_request_seconds", "Seconds from arrival to reply.", ("face",), buckets=_TIMES)
PHASES = BulkHistogram(
    "serving_phase_seconds", "Seconds of a prediction: parse, queue and compute.", ("phase",), buckets=_TIMES
)
BATCH = BulkHistogram(
    "serving_batch_images", "Images of the run that a request was part of.", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)
QUEUE = Gauge(
    "serving_queue_requests",
    "Requests that waited for a thread or for the model at the last look.",
    multiprocess_mode="livesum",
)
REJECTED = Counter("serving_rejected", "Requests that were not served in time.", ("reason",))
CLASSES = Counter("serving_predicted_classes", "Images by the class that they were called.", ("label",))
CONFIDENCE = BulkHistogram(
    "serving_confidence",
    "Greatest probability of each image.",
    buckets=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1),
)
VERSION = Gauge(
    "serving_model_version", "Version that answers now, by process.", ("model",), multiprocess_mode="liveall"
)
LOADING = Gauge("serving_model_load_seconds", "Seconds that its loading took, by process.", multiprocess_mode="liveall")
FAILURES = Counter("serving_model_load_failures", "Attempts to load a version that failed.")
LOOK_FAILURES = Counter("serving_registry_look_failures", "Looks at the registry that failed.")


class _Shared(Collector):
    """What the workers noted in their files; other files of the directory are left alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        return MultiProcessCollector.merge(metrics_directory.files(self._directory))


def exposition(settings: Settings) -> Response:
    """All of it in Prometheus' text format, summed over the workers where they share it."""
    directory = settings.metrics_directory
    if directory and metrics_directory.holds(directory, os.getpid()):
        registry = CollectorRegistry()
        registry.register(_Shared(directory))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    # Nothing is shared, or somebody removed the files: what this worker knows.
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
