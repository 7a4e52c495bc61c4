"""The one thread that owns the model, and the two queues in front of it.

Windows of several requests are encoded together, then requests are reasoned about together.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from model.outputs import Prediction
from model.predictor import Predictor, PredictRequest
from server.batcher import Batcher, Done
from server.errors import NotReady
from server.settings import Settings

T = TypeVar("T")


class ModelThread:
    """Loads the predictor on a thread of its own; nothing else ever calls the model."""

    def __init__(
        self, settings: Settings, load: Callable[[], Predictor], coming: Callable[[], int]
    ) -> None:
        """Wires the queues; nothing is loaded before `load`.

        Args:
            settings: sizes of batches.
            load: makes the predictor; runs on the thread that will own it.
            coming: clips being decoded now: worth a short wait, and each a core that is busy.
        """
        self._settings = settings
        self._load = load
        self._coming = coming
        self._predictor: Predictor | None = None
        self._thread = ThreadPoolExecutor(1, "model")
        self._features: Batcher[Tensor, Tensor] = Batcher(
            self._encode,
            executor=self._thread,
            max_cost=settings.max_batch_windows,
            capacity=1_000_000,  # admission and memory are bounded before this queue
            max_low_cost=settings.job_batch_windows,
            max_wait_s=settings.max_wait_ms / 1000,
            is_more_coming=lambda: coming() > 0,
        )
        self._reason: Batcher[PredictRequest, Prediction] = Batcher(
            self._predict,
            executor=self._thread,
            max_cost=settings.max_batch_requests,
            capacity=settings.max_requests + 1,  # the canary asks for no admission
            max_low_cost=1,
        )

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor.

        Raises:
            NotReady: it is not loaded yet, or could not be.
        """
        if self._predictor is None:
            raise NotReady("the model is not loaded")
        return self._predictor

    @property
    def seconds_per_request(self) -> float:
        """What one request costs the thread, lately."""
        return self._features.seconds_per_item + self._reason.seconds_per_item

    async def load(self) -> None:
        """Loads the predictor and begins to take work."""
        self._features.start()
        self._reason.start()
        loop = asyncio.get_running_loop()
        self._predictor = await loop.run_in_executor(self._thread, self._load)

    async def stop(self) -> None:
        """Ends the thread; what still waits fails with `Draining`."""
        await self._features.stop()
        await self._reason.stop()
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def enqueue_windows(
        self, windows: Tensor, *, deadline_s: float, is_low: bool = False
    ) -> list[asyncio.Future[Done[Tensor]]]:
        """Returns futures of a clip's features, one for each batchful of its windows.

        Args:
            windows: (L, T, H, W, 3) uint8.
            deadline_s: on the loop's clock.
            is_low: of a job: windows of other clips go first.
        """
        return [
            self._features.enqueue(part, cost=len(part), deadline_s=deadline_s, is_low=is_low)
            for part in windows.split(self._settings.max_batch_windows)
        ]

    async def reason(
        self, request: PredictRequest, *, deadline_s: float, is_low: bool = False
    ) -> Done[Prediction]:
        """Returns the answers to one request.

        Args:
            request: the question.
            deadline_s: on the loop's clock.
            is_low: of a job: other requests go first.

        Raises:
            DeadlineExceeded: its turn came too late.
        """
        return await self._reason.submit(request, deadline_s=deadline_s, is_low=is_low)

    async def run(self, work: Callable[[Predictor], T]) -> Done[T]:
        """Returns what a small piece of work with the predictor returns, once its turn comes."""
        asked_s = time.perf_counter()

        def timed() -> Done[T]:
            started_s = time.perf_counter()
            with _cpu_threads(1):
                value = work(self.predictor)
            return Done(value, started_s - asked_s, time.perf_counter() - started_s)

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    def _encode(self, parts: list[Tensor]) -> list[Tensor]:
        """Runs on the owner thread: windows of several requests in one call per frame size."""
        encoder = self.predictor.encoder
        features: list[Tensor] = [torch.empty(0)] * len(parts)
        spare = torch.get_num_threads() - self._coming()
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, part in enumerate(parts):
            by_shape.setdefault(tuple(part.shape[1:]), []).append(index)
        for indices in by_shape.values():
            same = [parts[index] for index in indices]
            with _cpu_threads(spare):
                rows = encoder.encode(torch.cat(same) if len(same) > 1 else same[0]).cpu()
            for index, mine in zip(indices, rows.split([len(p) for p in same]), strict=True):
                features[index] = mine
        return features

    def _predict(self, requests: list[PredictRequest]) -> list[Prediction]:
        """Runs on the owner thread."""
        with _cpu_threads(1):  # its many small operations lose more by meeting than they win
            return self.predictor.predict(requests)


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
