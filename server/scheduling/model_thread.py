"""The one thread that owns the model, and the two queues in front of it.

Windows of several requests are encoded together, then requests are reasoned about together. A
request is finished by the predictor it began with, whatever has been loaded since.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from extract.cpu import raise_niceness
from extract.encoders.encoder import VideoEncoder
from model.predict.outputs import Prediction
from model.predict.predictor import Predictor, PredictRequest
from server.errors import NotReady
from server.scheduling.batcher import Around, Batcher, Completed
from server.scheduling.out_of_memory import is_device_error, run_items_or_split, run_rows_or_split
from server.settings.settings import Settings
from server.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

T = TypeVar("T")

NICENESS = 5
"""Of the model's thread: refusals and health checks do not wait for it."""


class ModelThread:
    """Loads the predictor on a thread of its own; nothing else ever calls the model."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Predictor],
        coming: Callable[[], int],
        *,
        telemetry: Telemetry | None = None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        """Wires the queues; nothing is loaded before `load`.

        Args:
            settings: sizes of batches.
            load: makes the predictor; runs on the thread that will own it.
            coming: clips being decoded now: worth a short wait, and each a core that is busy.
            telemetry: where batches are reported.
            on_trouble: called on the loop when the device, not a clip, made trouble.
        """
        self._load = load
        self._coming = coming
        self._telemetry = telemetry or Telemetry()
        self._on_trouble = on_trouble
        self._loop: asyncio.AbstractEventLoop | None = None
        self._predictor: Predictor | None = None
        self._is_halved = False
        self._thread = ThreadPoolExecutor(1, "model", initializer=_step_back)
        self._features: Batcher[tuple[Predictor, Tensor], Tensor] = Batcher(
            self._encode,
            executor=self._thread,
            max_cost=settings.max_batch_windows,
            capacity=1_000_000,  # admission and memory are bounded before this queue
            max_low_cost=settings.job_batch_windows,
            max_wait_s=settings.max_wait_ms / 1000,
            is_more_coming=lambda: coming() > 0,
            around=self._around("features"),
        )
        self._reason: Batcher[tuple[Predictor, PredictRequest], Prediction] = Batcher(
            self._predict,
            executor=self._thread,
            max_cost=settings.max_batch_requests,
            capacity=settings.max_requests + 1,  # the canary asks for no admission
            max_low_cost=1,
            around=self._around("reason"),
        )
        metrics = self._telemetry.metrics
        for name, queue in (("features", self._features), ("reason", self._reason)):
            metrics.read(metrics.queue_depth, partial(getattr, queue, "depth"), name)
            metrics.queue_capacity.labels(name).set(queue.capacity)

    @property
    def predictor(self) -> Predictor:
        """The predictor that new requests begin with.

        Raises:
            NotReady: it is not loaded yet, or could not be.
        """
        if self._predictor is None:
            raise NotReady("the model is not loaded")
        return self._predictor

    async def load(self) -> None:
        """Loads the predictor and begins to take work."""
        self._features.start()
        self._reason.start()
        self._loop = asyncio.get_running_loop()
        self.switch(await self._loop.run_in_executor(self._thread, self._load))

    def switch(self, predictor: Predictor) -> None:
        """Lets new requests begin with another predictor."""
        self._predictor = predictor
        self._telemetry.metrics.name_model(predictor.name, predictor.version, predictor.sha256)

    async def stop(self) -> None:
        """Ends the thread; what still waits fails with `Draining`."""
        await self._features.stop()
        await self._reason.stop()
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def enqueue_windows(
        self, predictor: Predictor, windows: Tensor, *, deadline_s: float, is_low: bool = False
    ) -> list[asyncio.Future[Completed[Tensor]]]:
        """Returns futures of a clip's features, one for each batchful of its windows.

        Args:
            predictor: whose encoder.
            windows: (L, T, H, W, 3) frames.
            deadline_s: on the loop's clock.
            is_low: of a job: windows of other clips go first.
        """
        return [
            self._features.enqueue(
                (predictor, part), cost=len(part), deadline_s=deadline_s, is_low=is_low
            )
            for part in windows.split(self._features.max_cost)
        ]

    async def reason(
        self,
        predictor: Predictor,
        request: PredictRequest,
        *,
        deadline_s: float,
        is_low: bool = False,
    ) -> Completed[Prediction]:
        """Returns the answers to one request.

        Args:
            predictor: who answers.
            request: the question.
            deadline_s: on the loop's clock.
            is_low: of a job: other requests go first.

        Raises:
            DeadlineExceeded: its turn came too late.
            OutOfMemory: the device cannot hold it.
        """
        asked = (predictor, request)
        return await self._reason.submit(asked, deadline_s=deadline_s, is_low=is_low)

    async def run(self, predictor: Predictor, work: Callable[[Predictor], T]) -> Completed[T]:
        """Returns what a small piece of work with a predictor returns, once its turn comes."""
        asked_s = time.perf_counter()

        def timed() -> Completed[T]:
            started_s = time.perf_counter()
            with _cpu_threads(1), self._trouble():
                value = work(predictor)
            return Completed(value, started_s - asked_s, time.perf_counter() - started_s)

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    def _encode(self, parts: list[tuple[Predictor, Tensor]]) -> list[Tensor]:
        """Runs on the owner thread: windows of several requests in one call per frame size."""
        features: list[Tensor] = [torch.empty(0)] * len(parts)
        spare = torch.get_num_threads() - self._coming()
        alike = _alike([(id(predictor), *part.shape[1:]) for predictor, part in parts])
        for indices in alike:
            encoder = parts[indices[0]][0].encoder
            same = [parts[index][1] for index in indices]
            with _cpu_threads(spare), self._trouble():
                rows = run_rows_or_split(
                    partial(_rows, encoder),
                    torch.cat(same) if len(same) > 1 else same[0],
                    self._shrink,
                )
            for index, mine in zip(indices, rows.split([len(p) for p in same]), strict=True):
                features[index] = mine
        return features

    def _predict(self, asked: list[tuple[Predictor, PredictRequest]]) -> list[Prediction]:
        """Runs on the owner thread."""
        answers: dict[int, Prediction] = {}
        for indices in _alike([(id(predictor),) for predictor, _ in asked]):
            predictor = asked[indices[0]][0]
            requests = [asked[index][1] for index in indices]
            # Its many small operations lose more by meeting than they win.
            with _cpu_threads(1), self._trouble():
                found = run_items_or_split(predictor.predict, requests, self._shrink)
            answers |= dict(zip(indices, found, strict=True))
        return [answers[index] for index in range(len(asked))]

    def _shrink(self) -> None:
        """Runs on the owner thread: batches of half the windows from here on, but only once."""
        self._telemetry.metrics.out_of_memory.inc()
        if not self._is_halved:
            self._is_halved = True
            self._features.max_cost = max(1, self._features.max_cost // 2)
            logger.warning(
                "out of memory: batches hold at most %d windows now", self._features.max_cost
            )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_trouble)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Runs on the owner thread: tells the loop when the device made trouble."""
        try:
            yield
        except Exception as error:
            if is_device_error(error) and self._loop is not None:
                self._loop.call_soon_threadsafe(self._on_trouble)
            raise

    def _around(self, queue: str) -> Around:
        return lambda flush, spans, cost: self._telemetry.batch(
            queue, flush, spans, windows=cost if queue == "features" else None
        )


def _rows(encoder: VideoEncoder, windows: Tensor) -> Tensor:
    return encoder.encode(windows).cpu()


def _alike(keys: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Returns the places of equal keys, in order of first appearance."""
    places: dict[tuple[int, ...], list[int]] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, []).append(index)
    return list(places.values())


@contextmanager
def _cpu_threads(count: int) -> Iterator[None]:
    """Gives torch so many threads on a CPU.

    Threads that outnumber the free cores wait for each other at the end of every operation, for a
    scheduler's tick each time; a decoder at work is a core that is not free.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _step_back() -> None:
    """Lets the event loop's thread go first; on Linux, niceness is a thread's own."""
    if sys.platform == "linux":
        raise_niceness(threading.get_native_id(), NICENESS)
