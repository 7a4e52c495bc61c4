"""Bounded queue -> micro-batches -> futures.

Generic: it joins items that wait at the same time into one call on the thread that owns the
model. It has never heard of video, and an answer never depends on an item's batch mates.

Items of low priority run when no other waits; but they never wait for ever, for after
`MAX_CONSECUTIVE_HIGH` batches in a row that went before them comes one of theirs.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from opentelemetry.trace import Span, get_current_span

from server.errors import DeadlineExceeded, Draining, QueueFull
from server.telemetry.metrics import Flush

logger = logging.getLogger(__name__)

MAX_CONSECUTIVE_HIGH = 8
"""Batches of high priority that may go before one of low priority that waits."""

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Completed(Generic[Out]):
    """A result, how long its item waited for its turn, and how long the batch ran."""

    value: Out
    waited_s: float
    ran_s: float


@dataclass(eq=False)
class _Item(Generic[In, Out]):
    payload: In
    cost: int
    deadline_s: float
    enqueued_s: float
    future: asyncio.Future[Completed[Out]] = field(repr=False)
    span: Span = field(default_factory=get_current_span, repr=False)


Around = Callable[[Flush, list[Span], int], AbstractContextManager[None]]
"""Why a batch was closed, its requests' spans, its cost -> what is to be in force while it runs."""


def _nothing(flush: Flush, spans: list[Span], cost: int) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class Batcher(Generic[In, Out]):
    """Runs what is queued, several items a call.

    Attributes:
        max_cost: a batch stops growing here; one dearer item still runs, alone.
        capacity: items of one priority that may wait; one more is refused.
    """

    def __init__(
        self,
        run: Callable[[list[In]], Sequence[Out]],
        *,
        executor: Executor,
        max_cost: int,
        capacity: int,
        max_low_cost: int | None = None,
        max_wait_s: float = 0.0,
        is_more_coming: Callable[[], bool] = lambda: False,
        around: Around = _nothing,
    ) -> None:
        """Wires a queue to a function.

        Args:
            run: list in, list of the same length out; called on `executor`, one call at a time.
            executor: whose single thread owns what `run` uses.
            max_cost: see above; may be changed later.
            capacity: see above.
            max_low_cost: as `max_cost`, of a batch of low priority: what others may have to wait
                for; default: `max_cost`.
            max_wait_s: longest wait for batch mates.
            is_more_coming: whether waiting makes sense at all.
            around: entered around every batch, for whoever wants to see it.
        """
        self._run = run
        self._executor = executor
        self.max_cost = max_cost
        self.capacity = capacity
        self._max_low_cost = max_cost if max_low_cost is None else max_low_cost
        self._max_wait_s = max_wait_s
        self._is_more_coming = is_more_coming
        self._around = around
        self._high: deque[_Item[In, Out]] = deque()
        self._low: deque[_Item[In, Out]] = deque()
        self._turns = 0  # batches of high priority in a row while one of low priority waited
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Items that wait."""
        return _live(self._high) + _live(self._low)

    def start(self) -> None:
        """Begins to take items; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def stop(self) -> None:
        """Stops taking items; whatever still waits fails with `Draining`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for queue in (self._high, self._low):
            for item in queue:
                if not item.future.done():
                    item.future.set_exception(Draining("the server is stopping"))
            queue.clear()

    def enqueue(
        self, payload: In, *, deadline_s: float, cost: int = 1, is_low: bool = False
    ) -> asyncio.Future[Completed[Out]]:
        """Returns the future of the item's result; cancelling it takes the item out again.

        It fails with `DeadlineExceeded` if the item's turn comes too late.

        Args:
            payload: handed to `run`.
            deadline_s: on the loop's clock; an item past it is dropped unrun.
            cost: its share of `max_cost`.
            is_low: others go first.

        Raises:
            QueueFull: `capacity` items wait already.
        """
        queue = self._low if is_low else self._high
        if _live(queue) >= self.capacity:
            raise QueueFull
        loop = asyncio.get_running_loop()
        item: _Item[In, Out] = _Item(payload, cost, deadline_s, loop.time(), loop.create_future())
        queue.append(item)
        self._arrived.set()
        return item.future

    async def submit(
        self, payload: In, *, deadline_s: float, cost: int = 1, is_low: bool = False
    ) -> Completed[Out]:
        """Returns the item's result once a batch with it has run; otherwise as `enqueue`.

        Raises:
            QueueFull: `capacity` items wait already.
            DeadlineExceeded: its turn came too late.
        """
        return await self.enqueue(payload, deadline_s=deadline_s, cost=cost, is_low=is_low)

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while (queue := self._next_queue()) is not None:
                await self._run_batch(*await self._gather(queue))

    def _next_queue(self) -> deque[_Item[In, Out]] | None:
        """Whose turn it is; None when nobody waits."""
        for queue in (self._high, self._low):
            while queue and not self._is_live(queue[0]):
                queue.popleft()
        if not self._low:
            self._turns = 0
            return self._high or None
        if self._high and self._turns < MAX_CONSECUTIVE_HIGH:
            self._turns += 1
            return self._high
        self._turns = 0
        return self._low

    async def _gather(self, queue: deque[_Item[In, Out]]) -> tuple[list[_Item[In, Out]], Flush]:
        """Returns the next batch and why it was closed.

        It is empty when everything that waited was cancelled or expired.
        """
        batch: list[_Item[In, Out]] = []
        cost = 0
        is_low = queue is self._low
        max_cost = min(self._max_low_cost, self.max_cost) if is_low else self.max_cost
        until_s = asyncio.get_running_loop().time() + self._max_wait_s
        while True:
            while queue and (not batch or cost + queue[0].cost <= max_cost):
                item = queue.popleft()
                if self._is_live(item):
                    batch.append(item)
                    cost += item.cost
            is_full = bool(queue) or cost >= max_cost
            if not batch or is_full or is_low or not self._is_worth_waiting():
                return batch, "full" if is_full else "idle"
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._arrived.wait()
            except TimeoutError:
                return [item for item in batch if self._is_live(item)], "wait"

    def _is_worth_waiting(self) -> bool:
        return self._max_wait_s > 0 and self._is_more_coming()

    def _is_live(self, item: _Item[In, Out]) -> bool:
        if item.future.done():
            return False
        if asyncio.get_running_loop().time() >= item.deadline_s:
            item.future.set_exception(DeadlineExceeded("the deadline passed in the queue"))
            return False
        return True

    async def _run_batch(self, batch: list[_Item[In, Out]], flush: Flush) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        cost = sum(item.cost for item in batch)
        try:
            with self._around(flush, [item.span for item in batch], cost):
                values = await loop.run_in_executor(
                    self._executor, self._run, [item.payload for item in batch]
                )
            if len(values) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} came back with {len(values)}")
        except Exception as error:  # whatever it is, it belongs to the callers, not to this loop
            await self._settle_failure(batch, error)
            return
        ran_s = loop.time() - started_s
        for item, value in zip(batch, values, strict=True):
            if not item.future.done():
                item.future.set_result(Completed(value, started_s - item.enqueued_s, ran_s))

    async def _settle_failure(self, batch: list[_Item[In, Out]], error: Exception) -> None:
        """One bad item must not fail its batch mates: after a failure, each runs alone."""
        if len(batch) > 1:
            logger.warning("a batch of %d failed; running its items alone", len(batch))
            for item in batch:
                if self._is_live(item):
                    await self._run_batch([item], "idle")
        elif not batch[0].future.done():
            batch[0].future.set_exception(error)


async def every(queued: Sequence[asyncio.Future[Completed[Out]]]) -> list[Completed[Out]]:
    """Returns all results; when one fails or nobody waits any more, the rest never start."""
    try:
        return await asyncio.gather(*queued)
    finally:
        for future in queued:
            future.cancel()


def _live(queue: deque[_Item[In, Out]]) -> int:
    return sum(not item.future.done() for item in queue)
