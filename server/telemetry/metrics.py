"""What is counted, as Prometheus metrics in a registry of our own.

Every label has a short, fixed list of values: no paths, no ids, no callers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, get_args

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from server import problem_types as kinds
from server.jobs.records import State
from server.problem_types import ProblemType

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180)
"""To beyond the longest deadline."""

JOB_BUCKETS_S = (1, 5, 15, 60, 180, 600, 1800, 3600, 7200, 14400, 28800, 57600)
"""To beyond every attempt that one job is given by default."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Stage = Literal["receive", "queue", "decode", "features", "reason"]
Flush = Literal["full", "wait", "idle"]
Try = Literal["delivered", "failed", "given-up"]

_DECODE = {
    "unsupported-media",
    "codec-not-allowed",
    "no-video-stream",
    "undecodable-video",
    "too-short",
    "too-long-for-sync",
    "too-large-for-sync",
    "too-many-pixels",
    "frame-rate-too-high",
}
_BACKEND = {"internal", "out-of-memory", "model-unhealthy", "decoder-unavailable"}


class Metrics:
    """One attribute per metric; whoever knows a fact sets it."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"egopack_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"egopack_{name}", what, labels, registry=registry)

        def seconds(name: str, what: str, *labels: str) -> Histogram:
            return Histogram(
                f"egopack_{name}_seconds", what, labels, registry=registry, buckets=BUCKETS_S
            )

        self.requests = counter("requests", "Requests answered.", "endpoint", "outcome")
        self.failures = counter("request_failures", "Requests without an answer.", "reason")
        self.request_s = seconds("request_duration", "From first byte to last.", "endpoint")
        self.stage_s = seconds("stage_duration", "Time of a clip in a stage.", "stage")
        self.inflight = gauge("inflight_requests", "Requests that hold a place.")
        self.queue_depth = gauge("queue_depth", "Items that wait.", "queue")
        self.queue_capacity = gauge("queue_capacity", "Items that may wait.", "queue")
        self.queued_windows = gauge("queued_windows", "Windows yet to be encoded, estimated.")
        self.batch_windows = Histogram(
            "egopack_batch_windows", "Windows encoded together.", registry=registry,
            buckets=BATCH_BUCKETS,
        )  # fmt: skip
        self.batches = counter("batches", "Batches run, and why each was closed.", "queue", "flush")
        self.windows = counter("windows", "Windows encoded.")
        self.decoded_frames = counter("decoded_frames", "Source frames decoded and looked at.")
        self.decode_failures = counter("decode_failures", "Clips not decoded.", "reason")
        self.decoder_restarts = counter("decoder_restarts", "Decoders replaced.", "reason")
        self.received_bytes = counter("received_bytes", "Bytes of bodies that came.")
        self.spool_bytes = gauge("spool_bytes", "Bytes in the spool, or promised to it.")
        self.canary_s = seconds("canary_duration", "A canary's whole road.")
        self.canary_failures = counter("canary_failures", "Canaries that did not come back.")
        self.ready = gauge("ready", "1 while a clip sent now would be answered.")
        self.out_of_memory = counter("gpu_oom", "Batches that did not fit the device's memory.")
        self.gpu_memory = gauge("gpu_memory_bytes", "Memory of the device.", "device", "kind")
        self.reloads = counter("reloads", "Bundles loaded while serving.", "result")
        self.jobs = gauge("jobs", "Jobs in the store.", "state")
        self.job_s = Histogram(
            "egopack_job_duration_seconds", "From the first beginning of a job to its end.",
            registry=registry, buckets=JOB_BUCKETS_S,
        )  # fmt: skip
        self.webhooks = counter("webhook_deliveries", "Tries to deliver a webhook.", "result")
        self.model_info = gauge(
            "model_info", "1 for the bundle served.", "name", "version", "sha256"
        )

    def count_answer(
        self, endpoint: str, status: int, problem: ProblemType | None, ran_s: float
    ) -> None:
        """Counts one request that is over.

        Args:
            endpoint: operation id, or "none".
            status: as sent; 499 when the caller hung up.
            problem: what was said instead of an answer.
            ran_s: from first byte to last.
        """
        reason = "" if status < 400 else reason_of(status, problem)
        self.requests.labels(endpoint, reason or "ok").inc()
        self.request_s.labels(endpoint).observe(ran_s)
        if reason:
            self.failures.labels(reason).inc()

    def count_batch(self, queue: str, flush: Flush, windows: int | None) -> None:
        """Counts a batch, with its windows where it has any."""
        self.batches.labels(queue, flush).inc()
        if windows is not None:
            self.batch_windows.observe(windows)
            self.windows.inc(windows)

    def count_jobs(self, counts: Mapping[str, int]) -> None:
        """Says how many jobs are in each state; in one that is not named there are none."""
        for state in get_args(State):
            self.jobs.labels(state).set(counts.get(state, 0))

    def count_delivery(self, result: Try) -> None:
        """Counts one try to deliver a webhook."""
        self.webhooks.labels(result).inc()

    def name_model(self, name: str, version: str, sha256: str) -> None:
        """Says which bundle answers from now on."""
        self.model_info.clear()
        self.model_info.labels(name, version, sha256).set(1)

    def read(self, gauge: Gauge, value: Callable[[], float], *labels: str) -> None:
        """Lets a gauge be read when somebody asks, rather than kept up to date."""
        (gauge.labels(*labels) if labels else gauge).set_function(value)

    def read_memory(self, device: str) -> None:
        """Lets the memory of a device be read, if it is one that has its own."""
        if torch.device(device).type == "cuda":
            for kind in ("allocated", "reserved"):
                read = partial(getattr(torch.cuda, f"memory_{kind}"), device)
                self.read(self.gpu_memory, read, device, kind)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the page and its content type; OpenMetrics for who accepts it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def reason_of(status: int, problem: ProblemType | None) -> str:
    """Why a request has no answer, in one of six words."""
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
