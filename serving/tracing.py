"""OpenTelemetry, when its extra is installed and an exporter is configured; else this file does nothing.

It is configured by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask, g, request

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def install(app: Flask) -> None:
    """Let each request of `app` be a span, and the caller's trace its parent, if somebody wants to see them.

    Those that are refused for want of time do not come so far.
    """
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
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    tracer = provider.get_tracer("serving")

    @app.before_request
    def begin() -> None:
        parent = extract({name.lower(): value for name, value in request.headers.items()})
        name = f"{request.method} {request.url_rule}" if request.url_rule else request.method
        g.tracer = tracer
        g.span = tracer.start_span(name, context=parent, kind=SpanKind.SERVER)


def phases(seconds: Mapping[str, float], parsed: float) -> None:
    """Add a span for each phase of a prediction, in their order; parsing ended at `parsed`, monotonic."""
    if "span" not in g:
        return
    from opentelemetry.trace import set_span_in_context

    # Spans are dated by the wall clock, in nanoseconds.
    begin = parsed - seconds["parse"] + time.time() - time.monotonic()
    for phase, length in seconds.items():
        span = g.tracer.start_span(phase, context=set_span_in_context(g.span), start_time=int(begin * 1e9))
        begin += length
        span.end(int(begin * 1e9))


def finish(code: int, version: str) -> None:
    """End the span of this request."""
    if "span" in g:
        g.span.set_attributes({"http.response.status_code": code, "model.version": version})
        g.span.end()
