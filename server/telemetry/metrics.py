"""Prometheus metrics, in a registry per server.

Every label has few, fixed values: no paths, ids or callers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from server import problem_types as kinds
from server.errors import REJECTED
from server.problem_types import ProblemType

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180)
"""Up to beyond the longest default deadline."""

JOB_BUCKETS_S = (1, 5, 15, 60, 180, 600, 1800, 3600, 7200, 14400, 28800, 57600)
"""Up to beyond all attempts of one job at default settings."""

LAG_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 5, 10, 30)
"""Around the goals for live streams."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Stage = Literal["receive", "queue", "decode", "features", "reason"]
Flush = Literal["full", "wait", "idle"]
Try = Literal["delivered", "failed", "given-up"]

_DECODE = {kind.slug for kind in REJECTED.values()}
_BACKEND = {"internal", "out-of-memory", "model-unhealthy", "decoder-unavailable"}


class Metrics:
    """The metrics, one attribute each."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"egopack_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"egopack_{name}", what, labels, registry=registry)

        def histogram(
            name: str, what: str, *labels: str, buckets: tuple[float, ...] = BUCKETS_S
        ) -> Histogram:
            return Histogram(f"egopack_{name}", what, labels, registry=registry, buckets=buckets)

        self.requests = counter("requests", "Finished requests.", "endpoint", "outcome")
        self.failures = counter("request_failures", "Failed requests.", "reason")
        self.request_s = histogram(
            "request_duration_seconds", "Time from first byte to last.", "endpoint"
        )
        self.stage_s = histogram("stage_duration_seconds", "Time of a clip in a stage.", "stage")
        self.inflight = gauge("inflight_requests", "Requests admitted and not finished.")
        self.queue_depth = gauge("queue_depth", "Items in a queue.", "queue")
        self.queue_capacity = gauge("queue_capacity", "Longest length of a queue.", "queue")
        self.queued_windows = gauge("queued_windows", "Windows to be encoded, estimated.")
        self.batch_windows = histogram(
            "batch_windows", "Windows in a batch.", buckets=BATCH_BUCKETS
        )
        self.batches = counter("batches", "Batches run, by why each was closed.", "queue", "flush")
        self.windows = counter("windows", "Windows encoded.")
        self.decoded_frames = counter("decoded_frames", "Source frames decoded and used.")
        self.decode_failures = counter("decode_failures", "Clips that failed to decode.", "reason")
        self.decoder_restarts = counter("decoder_restarts", "Decoders replaced.", "reason")
        self.received_bytes = counter("received_bytes", "Bytes of request bodies received.")
        self.spool_bytes = gauge("spool_bytes", "Bytes on disk or reserved in the spool.")
        self.canary_s = histogram("canary_duration_seconds", "Time of a health canary.")
        self.canary_failures = counter("canary_failures", "Failed health canaries.")
        self.ready = gauge("ready", "1 while ready for requests.")
        self.out_of_memory = counter("gpu_oom", "Batches too large for the device's memory.")
        self.gpu_memory = gauge("gpu_memory_bytes", "Device memory in use.", "device", "kind")
        self.reloads = counter("reloads", "Reloads of the bundle.", "result")
        self.jobs = gauge("jobs", "Jobs in the store.", "state")
        self.job_s = histogram(
            "job_duration_seconds", "Time from a job's first start to its end.",
            buckets=JOB_BUCKETS_S,
        )  # fmt: skip
        self.webhooks = counter("webhook_deliveries", "Delivery attempts of webhooks.", "result")
        self.teaching_changes = counter(
            "teaching_changes", "Changes of kept clips and taught skills.", "change"
        )
        self.live_sessions = gauge("live_sessions", "Live streams.")
        self.live_lag_s = histogram(
            "live_lag_seconds", "Time from a live window's last message to its answer.",
            buckets=LAG_BUCKETS_S,
        )  # fmt: skip
        self.live_skipped = counter("live_skipped_windows", "Live windows left out for load.")
        self.live_refusals = counter("live_refusals", "Live streams not taken in.", "reason")
        self.model_info = gauge(
            "model_info", "1 for the bundle being served.", "name", "version", "sha256"
        )

    def count_answer(
        self, endpoint: str, status: int, problem: ProblemType | None, ran_s: float
    ) -> None:
        """Counts one finished request.

        Args:
            endpoint: operation id, or "none".
            status: as sent; 499 when the client disconnected.
            problem: the problem that was sent, if any.
            ran_s: seconds from first byte to last.
        """
        reason = "" if status < 400 else reason_of(status, problem)
        self.requests.labels(endpoint, reason or "ok").inc()
        self.request_s.labels(endpoint).observe(ran_s)
        if reason:
            self.failures.labels(reason).inc()

    def count_batch(self, queue: str, flush: Flush, windows: int | None) -> None:
        """Counts a batch, and its windows if it consists of windows."""
        self.batches.labels(queue, flush).inc()
        if windows is not None:
            self.batch_windows.observe(windows)
            self.windows.inc(windows)

    def count_jobs(self, counts: Mapping[str, int]) -> None:
        """Sets the number of jobs in each state; every state is given."""
        for state, count in counts.items():
            self.jobs.labels(state).set(count)

    def count_delivery(self, result: Try) -> None:
        """Counts one delivery attempt of a webhook."""
        self.webhooks.labels(result).inc()

    def name_model(self, name: str, version: str, sha256: str) -> None:
        """Sets the labels of the bundle that is served from now on."""
        self.model_info.clear()
        self.model_info.labels(name, version, sha256).set(1)

    def read(self, gauge: Gauge, value: Callable[[], float], *labels: str) -> None:
        """Makes a gauge call a function at every scrape."""
        (gauge.labels(*labels) if labels else gauge).set_function(value)

    def read_memory(self, device: str) -> None:
        """Exports the memory in use on a CUDA device; nothing for other devices."""
        if torch.device(device).type == "cuda":
            for kind in ("allocated", "reserved"):
                read = partial(getattr(torch.cuda, f"memory_{kind}"), device)
                self.read(self.gpu_memory, read, device, kind)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the exposition and its content type: OpenMetrics if accepted, else plain text."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def reason_of(status: int, problem: ProblemType | None) -> str:
    """Returns why a request failed, as one of six label values."""
    slug = "" if problem is None else problem.slug
    if status == kinds.CALLER_GONE.status:
        return "canceled"
    if slug in _BACKEND or (status >= 500 and problem is None):
        return "backend"
    if status == 504:
        return "timeout"
    if status in (429, 503):
        return "rejected"
    return "decode" if slug in _DECODE else "other"
