"""OpenTelemetry tracing: a no-op unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

The only module that imports the OpenTelemetry SDK.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server import __version__

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Standard variable of the exporter, which reads its other variables itself."""

CLOSE_S = 3.0
"""Longest time for the final export, in seconds: a collector may be down."""

_TRACEPARENT = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans, or does nothing if tracing is off."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        """Sets up the tracer.

        Args:
            processor: exports every span; None: tracing is off.
        """
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = trace.NoOpTracer()
        if processor is not None:
            resource = Resource.create({"service.name": "egopack", "service.version": __version__})
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(processor)
            self._tracer = self._provider.get_tracer("egopack", __version__)

    @classmethod
    def from_environment(cls) -> "Tracing":
        """Returns tracing with an export to the endpoint in the environment, or off without one."""
        if not os.environ.get(ENDPOINT):
            return cls()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        return cls(BatchSpanProcessor(OTLPSpanExporter()))

    @property
    def is_on(self) -> bool:
        """Whether spans are exported."""
        return self._provider is not None

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Opens the span of one request, as a child of the caller's if it sent a `traceparent`."""
        parent = _TRACEPARENT.extract(headers) if self.is_on else None
        with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER) as span:
            yield span

    def stage(self, name: str, seconds: float) -> None:
        """Records a stage of the current request that has just ended."""
        if not self.is_on:
            return
        ended_ns = time.time_ns()
        started_ns = ended_ns - round(seconds * 1e9)
        self._tracer.start_span(f"egopack.{name}", start_time=started_ns).end(ended_ns)

    @contextmanager
    def batch(self, name: str, spans: Sequence[Span], **facts: int | str) -> Iterator[None]:
        """Opens the span of a batch, linked to the span of each request in it."""
        links = [Link(context) for span in spans if (context := span.get_span_context()).is_valid]
        with self._tracer.start_as_current_span(
            f"egopack.batch.{name}", trace.set_span_in_context(trace.INVALID_SPAN),
            links=links, attributes=facts,
        ):  # fmt: skip
            yield

    def close(self) -> None:
        """Exports the remaining spans, for at most `CLOSE_S` seconds."""
        if self._provider is not None:
            sending = threading.Thread(target=self._provider.shutdown, daemon=True)
            sending.start()
            sending.join(CLOSE_S)


def trace_id() -> str | None:
    """Returns the current trace's id in hexadecimal, if there is one."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
