"""Micro-batcher: a bounded priority queue -> micro-batches -> futures.

Generic: items that wait at the same time run in one call on the thread that owns the model.
Independent of video, and a result never depends on the other items of its micro-batch.

A device may compute on after a call; the next micro-batch is then launched meanwhile.

An item runs when none of higher priority waits, with a starvation bound: after `MAX_OVERTAKEN`
batches that went first while it waited, a batch of its own priority runs.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from opentelemetry.trace import Span, get_current_span

from server.errors import DeadlineExceeded, Draining, QueueFull
from server.telemetry.metrics import Flush

logger = logging.getLogger(__name__)

MAX_OVERTAKEN = 8
"""Starvation bound: batches of other priorities that may run while one waits."""


class Priority(IntEnum):
    """What goes first: a caller who waits, then a live stream, then a job."""

    HIGH = 0
    LIVE = 1
    LOW = 2


In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Completed(Generic[Out]):
    """A result, how long its item was queued, and how long its micro-batch ran."""

    value: Out
    waited_s: float
    ran_s: float


@dataclass(frozen=True)
class Launched(Generic[Out]):
    """Results that a device still computes.

    Attributes:
        values: a result for each item, filled when `wait` returns.
        wait: blocks until then; called on a thread of its own.
    """

    values: Sequence[Out]
    wait: Callable[[], None]


@dataclass(eq=False)
class _Item(Generic[In, Out]):
    payload: In
    cost: int
    deadline_s: float
    enqueued_s: float
    future: asyncio.Future[Completed[Out]] = field(repr=False)
    span: Span = field(default_factory=get_current_span, repr=False)


BatchContext = Callable[[Flush, list[Span], int], AbstractContextManager[None]]
"""Why a micro-batch was closed, its requests' spans, its cost -> context entered while it runs."""


class Batcher(Generic[In, Out]):
    """Runs queued items, several per call.

    Attributes:
        max_cost: cost at which a micro-batch is full; may be changed later. An item that costs
            more still runs, alone.
        capacity: items of one priority that may wait; one more is refused.
    """

    def __init__(
        self,
        run: Callable[[list[In]], Sequence[Out] | Launched[Out]],
        *,
        executor: Executor,
        max_cost: int,
        capacity: int,
        max_low_cost: int | None = None,
        max_live_cost: int | None = None,
        max_wait_s: float = 0.0,
        is_more_coming: Callable[[], bool] = lambda: False,
        batch_context: BatchContext = lambda *_: contextlib.nullcontext(),
    ) -> None:
        """Connects the queue to a function.

        Args:
            run: list in, list of the same length out; called on `executor`, one call at a time.
                Where it is `Launched`, the next call follows at once, and no third one before the
                first has ended.
            executor: has a single thread, which owns what `run` uses.
            max_cost: cost of a full micro-batch.
            capacity: length of the queue of each priority.
            max_low_cost: as `max_cost`, of a micro-batch of low priority, which bounds the wait
                of high priority behind it; default: `max_cost`.
            max_live_cost: likewise, of live streams.
            max_wait_s: longest time a micro-batch is held open for more items.
            is_more_coming: whether more items are expected, so that holding open is worth while.
            batch_context: entered around every micro-batch, for metrics and spans.
        """
        self._run = run
        self._executor = executor
        self.max_cost = max_cost
        self.capacity = capacity
        self._most = {Priority.LOW: max_low_cost, Priority.LIVE: max_live_cost}
        self._max_wait_s = max_wait_s
        self._is_more_coming = is_more_coming
        self._batch_context = batch_context
        self._queues: dict[Priority, deque[_Item[In, Out]]] = {p: deque() for p in Priority}
        self._overtaken = dict.fromkeys(Priority, 0)  # batches run while one of it waited
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Items waiting."""
        return sum(map(_live, self._queues.values()))

    def start(self) -> None:
        """Starts processing; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def stop(self) -> None:
        """Stops processing; items still waiting fail with `Draining`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for queue in self._queues.values():
            for item in queue:
                if not item.future.done():
                    item.future.set_exception(Draining("the server is stopping"))
            queue.clear()

    def enqueue(
        self,
        payload: In,
        *,
        deadline_s: float,
        cost: int = 1,
        priority: Priority = Priority.HIGH,
    ) -> asyncio.Future[Completed[Out]]:
        """Returns the future of the item's result; cancelling it removes the item from the queue.

        The future fails with `DeadlineExceeded` if the deadline passes before the item runs.

        Args:
            payload: passed to `run`.
            deadline_s: on the loop's clock.
            cost: its share of `max_cost`.
            priority: what it waits for.

        Raises:
            QueueFull: `capacity` items of its priority wait already.
        """
        queue = self._queues[priority]
        if _live(queue) >= self.capacity:
            raise QueueFull
        loop = asyncio.get_running_loop()
        item: _Item[In, Out] = _Item(payload, cost, deadline_s, loop.time(), loop.create_future())
        queue.append(item)
        self._arrived.set()
        return item.future

    async def submit(
        self,
        payload: In,
        *,
        deadline_s: float,
        cost: int = 1,
        priority: Priority = Priority.HIGH,
    ) -> Completed[Out]:
        """As `enqueue`, but waits for the result."""
        return await self.enqueue(payload, deadline_s=deadline_s, cost=cost, priority=priority)

    async def _serve(self) -> None:
        before: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while (priority := self._next_priority()) is not None:
                    is_launched = asyncio.Event()
                    work = self._run_batch(*await self._gather(priority), is_launched)
                    running = group.create_task(work)
                    await is_launched.wait()
                    if before is not None:
                        await before
                    before = running

    def _next_priority(self) -> Priority | None:
        """The priority to serve next; None when nothing waits."""
        for queue in self._queues.values():
            while queue and not self._is_live(queue[0]):
                queue.popleft()
        waiting = [priority for priority, queue in self._queues.items() if queue]
        if not waiting:
            return None
        starved = (p for p in reversed(waiting) if self._overtaken[p] >= MAX_OVERTAKEN)
        chosen = next(starved, waiting[0])
        for priority in Priority:
            overtaken = priority in waiting and priority is not chosen
            self._overtaken[priority] = self._overtaken[priority] + 1 if overtaken else 0
        return chosen

    async def _gather(self, priority: Priority) -> tuple[list[_Item[In, Out]], Flush]:
        """Returns the next micro-batch, empty if all items expired, and why it was closed."""
        batch: list[_Item[In, Out]] = []
        cost = 0
        queue = self._queues[priority]
        most = self._most.get(priority)
        max_cost = self.max_cost if most is None else min(most, self.max_cost)
        until_s = asyncio.get_running_loop().time() + self._max_wait_s
        while True:
            while queue and (not batch or cost + queue[0].cost <= max_cost):
                item = queue.popleft()
                if self._is_live(item):
                    batch.append(item)
                    cost += item.cost
            is_full = bool(queue) or cost >= max_cost
            is_held_open = self._max_wait_s > 0 and self._is_more_coming()
            if not batch or is_full or priority is not Priority.HIGH or not is_held_open:
                return batch, "full" if is_full else "idle"
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._arrived.wait()
            except TimeoutError:
                return [item for item in batch if self._is_live(item)], "wait"

    def _is_live(self, item: _Item[In, Out]) -> bool:
        if item.future.done():
            return False
        if asyncio.get_running_loop().time() >= item.deadline_s:
            item.future.set_exception(DeadlineExceeded("the deadline passed in the queue"))
            return False
        return True

    async def _run_batch(
        self, batch: list[_Item[In, Out]], flush: Flush, is_launched: asyncio.Event
    ) -> None:
        """Runs a micro-batch; `is_launched` is set when the next one may run."""
        try:
            if batch:
                await self._run_and_settle(batch, flush, is_launched)
        finally:
            is_launched.set()

    async def _run_and_settle(
        self, batch: list[_Item[In, Out]], flush: Flush, is_launched: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        cost = sum(item.cost for item in batch)
        try:
            with self._batch_context(flush, [item.span for item in batch], cost):
                values = await loop.run_in_executor(
                    self._executor, self._run, [item.payload for item in batch]
                )
                if isinstance(values, Launched):
                    is_launched.set()
                    await asyncio.to_thread(values.wait)
                    values = values.values
            if len(values) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} came back with {len(values)}")
        except Exception as error:  # any error goes to the callers and must not end this loop
            await self._settle_failure(batch, error, is_launched)
            return
        ran_s = loop.time() - started_s
        for item, value in zip(batch, values, strict=True):
            if not item.future.done():
                item.future.set_result(Completed(value, started_s - item.enqueued_s, ran_s))

    async def _settle_failure(
        self, batch: list[_Item[In, Out]], error: Exception, is_launched: asyncio.Event
    ) -> None:
        """Isolates the failing item: after a failure, every item runs alone."""
        if len(batch) > 1:
            logger.warning("a batch of %d failed; running its items alone", len(batch))
            for item in batch:
                if self._is_live(item):
                    await self._run_and_settle([item], "idle", is_launched)
        elif not batch[0].future.done():
            batch[0].future.set_exception(error)


async def every(queued: Sequence[asyncio.Future[Completed[Out]]]) -> list[Completed[Out]]:
    """Returns all results; on failure or cancellation, items that do not run yet are removed."""
    try:
        return await asyncio.gather(*queued)
    finally:
        for future in queued:
            future.cancel()


def _live(queue: deque[_Item[In, Out]]) -> int:
    return sum(not item.future.done() for item in queue)
