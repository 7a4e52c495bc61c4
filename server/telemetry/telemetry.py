"""Telemetry: reports each event to metrics and tracing at once, so that the two agree."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from server.telemetry.metrics import Flush, Metrics, Stage
from server.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Telemetry:
    """Metrics and tracing together."""

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Tracing)

    def stage(self, stage: Stage, seconds: float) -> None:
        """Reports a stage of the current request that has just ended."""
        self.metrics.stage_s.labels(stage).observe(seconds)
        self.tracing.stage(stage, seconds)

    @contextmanager
    def batch(
        self, queue: str, flush: Flush, spans: Sequence[Span], windows: int | None
    ) -> Iterator[None]:
        """Reports a batch around its run.

        Args:
            queue: name of its queue.
            flush: why the batch was closed.
            spans: of the requests in it.
            windows: number of windows in it, if it consists of windows.
        """
        self.metrics.count_batch(queue, flush, windows)
        with self.tracing.batch(queue, spans, requests=len(spans), flush=flush):
            yield
