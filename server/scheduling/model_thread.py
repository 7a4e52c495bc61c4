"""The model's thread: the only one that calls the model, behind two micro-batch queues.

Windows of several requests are encoded together, then predictions for several requests are made
together. A request ends on the predictor it began with, even if another was loaded meanwhile.
"""

import asyncio
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from opentelemetry.trace import Span
from torch import Tensor

from extract.cpu import raise_niceness
from extract.runtime.frame_batches import EncodeBatch, batch_encoder
from extract.windows import FrameWindow
from model.predict.outputs import Prediction
from model.predict.predictor import Predictor, PredictRequest
from server.errors import NotReady
from server.scheduling.batcher import BatchContext, Batcher, Completed, Launched, Priority
from server.scheduling.daemon_thread import run_in_daemon_thread
from server.scheduling.out_of_memory import is_device_error, run_items_or_split, run_rows_or_split
from server.settings.settings import Settings
from server.telemetry.metrics import Flush
from server.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

T = TypeVar("T")

MEASURE_DECAY = 0.9
"""Weight of the batches before in the measured time of a window."""

NICENESS = 5
"""Of the model's thread, so that refusals and health checks do not wait for it."""


class ModelThread:
    """Loads the predictor and calls it, on one thread.

    Args:
        load: makes the predictor; runs on this thread.
        decoding: number of clips being decoded: worth a short wait, and each a busy core.
        on_device_error: called on the loop when the device, not a clip, caused an error.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Predictor],
        decoding: Callable[[], int],
        *,
        telemetry: Telemetry | None = None,
        on_device_error: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self._decoding = decoding
        self._telemetry = telemetry or Telemetry()
        self._on_device_error = on_device_error
        self._loop: asyncio.AbstractEventLoop | None = None
        self._predictor: Predictor | None = None
        self._is_halved = False
        self._encoded = self._encoded_s = 0.0
        self._thread = ThreadPoolExecutor(1, "model", initializer=_lower_priority)
        self._encoders: WeakKeyDictionary[Predictor, EncodeBatch] = WeakKeyDictionary()
        self._features: Batcher[tuple[Predictor, Sequence[FrameWindow]], Tensor] = Batcher(
            self._encode,
            executor=self._thread,
            max_cost=settings.max_batch_windows,
            capacity=1_000_000,  # admission and memory are bounded before this queue
            max_low_cost=settings.job_batch_windows,
            max_live_cost=settings.live_batch_windows,
            max_wait_s=settings.max_wait_ms / 1000,
            is_more_coming=lambda: decoding() > 0,
            batch_context=self._batch_context("features"),
        )
        self._reason: Batcher[tuple[Predictor, PredictRequest], Prediction] = Batcher(
            self._predict,
            executor=self._thread,
            max_cost=settings.max_batch_requests,
            # The synthetic probe bypasses admission; streams have places of their own.
            capacity=max(settings.max_requests, settings.live_sessions) + 1,
            max_low_cost=1,
            batch_context=self._batch_context("reason"),
        )
        metrics = self._telemetry.metrics
        for name, queue in (("features", self._features), ("reason", self._reason)):
            metrics.read(metrics.queue_depth, partial(getattr, queue, "depth"), name)
            metrics.queue_capacity.labels(name).set(queue.capacity)

    @property
    def window_s(self) -> float:
        """Seconds that a window takes the encoder in the latest batches; 0 before any ran."""
        return self._encoded_s / self._encoded if self._encoded else 0.0

    @property
    def predictor(self) -> Predictor:
        """The predictor of new requests.

        Raises:
            NotReady: it is not loaded yet, or could not be.
        """
        if self._predictor is None:
            raise NotReady("the model is not loaded")
        return self._predictor

    async def load(self) -> None:
        """Loads the predictor and starts the queues."""
        self._features.start()
        self._reason.start()
        self._loop = asyncio.get_running_loop()
        # Not on the thread that is joined at the end: a bundle's folder may hang.
        self.switch(await run_in_daemon_thread("load", self._load))

    def switch(self, predictor: Predictor) -> None:
        """Sets the predictor of new requests."""
        self._predictor = predictor
        self._telemetry.metrics.name_model(predictor.name, predictor.version, predictor.sha256)

    async def stop(self) -> None:
        """Ends the thread; items still waiting fail with `Draining`."""
        await self._features.stop()
        await self._reason.stop()
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def enqueue_windows(
        self,
        predictor: Predictor,
        windows: Sequence[FrameWindow],
        *,
        deadline_s: float,
        priority: Priority = Priority.HIGH,
    ) -> list[asyncio.Future[Completed[Tensor]]]:
        """Returns futures of a clip's features, one for each micro-batch of its windows.

        Args:
            predictor: has the encoder.
            windows: of frames of one size, which are shared, not copied.
            deadline_s: on the loop's clock.
            priority: of a request's clip, of a live stream, or of a job.
        """
        most = self._features.max_cost
        parts = [windows[first : first + most] for first in range(0, len(windows), most)]
        return [
            self._features.enqueue(
                (predictor, part), cost=len(part), deadline_s=deadline_s, priority=priority
            )
            for part in parts
        ]

    async def reason(
        self,
        predictor: Predictor,
        request: PredictRequest,
        *,
        deadline_s: float,
        priority: Priority = Priority.HIGH,
    ) -> Completed[Prediction]:
        """Returns the prediction for one request.

        Raises:
            DeadlineExceeded: the deadline passed in the queue.
            OutOfMemory: the device cannot hold it.
        """
        item = (predictor, request)
        return await self._reason.submit(item, deadline_s=deadline_s, priority=priority)

    async def run(self, predictor: Predictor, work: Callable[[Predictor], T]) -> Completed[T]:
        """Runs a short function of a predictor on the model's thread."""
        queued_s = time.perf_counter()

        def timed() -> Completed[T]:
            started_s = time.perf_counter()
            with self._running(cpu_threads=1):
                value = work(predictor)
            return Completed(value, started_s - queued_s, time.perf_counter() - started_s)

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    def _encode(
        self, parts: list[tuple[Predictor, Sequence[FrameWindow]]]
    ) -> list[Tensor] | Launched[Tensor]:
        """Runs on the model's thread: one call for each predictor and frame size."""
        features: dict[int, Tensor] = {}
        waits: list[Callable[[], None]] = []
        free_cores = torch.get_num_threads() - self._decoding()
        for indices in _groups([(id(predictor), *_size(part)) for predictor, part in parts]):
            encode = self._batch_encoder(parts[indices[0]][0])
            same = [parts[index][1] for index in indices]
            with self._running(cpu_threads=free_cores):
                rows, wait = start_fetch(
                    run_rows_or_split(encode, list(itertools.chain(*same)), self._on_out_of_memory)
                )
            waits += [] if wait is None else [wait]
            features |= dict(zip(indices, rows.split([len(p) for p in same]), strict=True))
        values = [features[index] for index in range(len(parts))]
        return Launched(values, partial(self._wait_for, waits)) if waits else values

    def _batch_encoder(self, predictor: Predictor) -> EncodeBatch:
        """Returns what encodes a predictor's batches: one for all, as it copies ahead."""
        if predictor not in self._encoders:
            self._encoders[predictor] = batch_encoder(predictor.encoder)
        return self._encoders[predictor]

    def _wait_for(self, waits: list[Callable[[], None]]) -> None:
        """Runs on a thread of its own, while the model's thread launches the next batch."""
        with self._reporting():
            for wait in waits:
                wait()

    def _predict(self, items: list[tuple[Predictor, PredictRequest]]) -> list[Prediction]:
        """Runs on the model's thread: one call for each predictor."""
        predictions: dict[int, Prediction] = {}
        for indices in _groups([(id(predictor),) for predictor, _ in items]):
            predictor = items[indices[0]][0]
            requests = [items[index][1] for index in indices]
            # One thread: synchronising costs its many small operations more than it gains.
            with self._running(cpu_threads=1):
                found = run_items_or_split(predictor.predict, requests, self._on_out_of_memory)
            predictions |= dict(zip(indices, found, strict=True))
        return [predictions[index] for index in range(len(items))]

    def _on_out_of_memory(self) -> None:
        """Runs on the model's thread: halves later batches of windows, once."""
        self._telemetry.metrics.out_of_memory.inc()
        if not self._is_halved:
            self._is_halved = True
            self._features.max_cost = max(1, self._features.max_cost // 2)
            logger.warning(
                "out of memory: batches hold at most %d windows now", self._features.max_cost
            )
        self._report_device_error()

    @contextmanager
    def _running(self, cpu_threads: int) -> Iterator[None]:
        """Runs on the model's thread: sets torch's CPU threads, and reports device errors.

        Threads that outnumber the free cores wait for each other at the end of every operation,
        for a scheduler's tick each time; a running decoder occupies a core.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(max(1, cpu_threads))
        try:
            with self._reporting():
                yield
        finally:
            torch.set_num_threads(before)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if is_device_error(error):
                self._report_device_error()
            raise

    def _report_device_error(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_device_error)

    def _batch_context(self, queue: str) -> BatchContext:
        windows = queue == "features"

        @contextmanager
        def context(flush: Flush, spans: list[Span], cost: int) -> Iterator[None]:
            started_s = time.perf_counter()
            with self._telemetry.batch(queue, flush, spans, windows=cost if windows else None):
                yield
            if windows:
                self._measure(cost, time.perf_counter() - started_s)

        return context

    def _measure(self, windows: int, ran_s: float) -> None:
        """Counts a batch; sums decay, so that `window_s` follows the machine's load."""
        self._encoded = MEASURE_DECAY * self._encoded + windows
        self._encoded_s = MEASURE_DECAY * self._encoded_s + ran_s


def start_fetch(rows: Tensor) -> tuple[Tensor, Callable[[], None] | None]:
    """Starts to copy rows into main memory; returns the copy, and what waits until it is there.

    None for rows that are there already. On CUDA the copy is made into pinned memory, after what
    the current stream has to do before it, and the caller goes on.
    """
    if not rows.is_cuda:
        return rows.cpu(), None
    fetched = rows.to("cpu", non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(rows.device))
    return fetched, arrived.synchronize


def _size(windows: Sequence[FrameWindow]) -> tuple[int, ...]:
    _, frame = windows[0][0]
    return frame.shape


def _groups(keys: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Returns the indices of equal keys, in order of first appearance."""
    indices: dict[tuple[int, ...], list[int]] = {}
    for index, key in enumerate(keys):
        indices.setdefault(key, []).append(index)
    return list(indices.values())


def _lower_priority() -> None:
    """Lets the event loop's thread run first; on Linux, niceness is per thread."""
    if sys.platform == "linux":
        raise_niceness(threading.get_native_id(), NICENESS)
