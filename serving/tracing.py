"""OpenTelemetry, when its extra is installed and an exporter is configured; else this file does nothing.

It is configured by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_tracer: Any = None  # of the phases; None where nothing is traced


def install(app: Flask) -> None:
    """Let each request that reaches `app` be a span, and the caller's trace its parent, if an exporter is set."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        app.logger.warning("%s is set, but the extra `traces` is not installed", _ENDPOINTS[0])
        return
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    follow(app, provider)


def follow(app: Flask, provider: Any) -> None:
    """Trace the requests of `app` with the tracers of `provider`."""
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    global _tracer
    _tracer = provider.get_tracer("serving")
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)


def add_phases(seconds: Mapping[str, float], started: float, model: str, version: str) -> None:
    """Add a span for each phase of a prediction of that version, one after the other since `started`, monotonic."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    get_current_span().set_attributes({"model.name": model, "model.version": version})
    begin = started + time.time() - time.monotonic()  # spans are dated by the wall clock, in nanoseconds
    for phase, length in seconds.items():
        span = _tracer.start_span(phase, start_time=int(begin * 1e9))
        begin += length
        span.end(int(begin * 1e9))
