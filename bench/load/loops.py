"""Closed and open load loops, and their stop.

A closed loop keeps N calls going; an open loop sends Poisson arrivals of a given mean rate, however
slow the server is. On SIGINT or SIGTERM the results so far are reported and servers ended.
"""

import asyncio
import itertools
import math
import random
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from bench.load.callers import Callers
from bench.load.clips import LoadClip

Progress = Callable[[], object]
T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def closed_loop(
    callers: Callers,
    clips: Iterator[LoadClip],
    *,
    concurrency: int,
    calls: int | None,
    duration_s: float | None,
    stop: asyncio.Event,
    progress: Progress,
    patience: Callable[[], float | None] = lambda: None,
) -> None:
    """Keeps some calls going until enough were made, and waits for the last answer.

    Calls or duration are unlimited where they are None; `stop` abandons everything; `patience`
    tells after how many seconds the next caller hangs up.
    """
    tickets = itertools.count() if calls is None else iter(range(calls))
    until_s = math.inf if duration_s is None else time.monotonic() + duration_s

    async def caller() -> None:
        for _ in tickets:
            if time.monotonic() >= until_s:
                return
            await callers.call(next(clips), hang_up_s=patience())
            progress()

    await _until(stop, asyncio.gather(*(caller() for _ in range(concurrency))))


async def open_loop(
    callers: Callers,
    clips: Iterator[LoadClip],
    *,
    rate: float,
    duration_s: float,
    seed: int,
    stop: asyncio.Event,
    progress: Progress,
    patience: Callable[[], float | None] = lambda: None,
) -> None:
    """Sends clips as a Poisson process, `rate` calls a second, and waits for the last answer.

    `seed` is that of the instants; `stop` and `patience` are as in a closed loop.
    """
    chance = random.Random(seed)
    calls: set[asyncio.Task[None]] = set()

    async def call() -> None:
        await callers.call(next(clips), hang_up_s=patience())
        progress()

    begun_s = time.monotonic()
    due_s = begun_s + chance.expovariate(rate)
    while due_s < begun_s + duration_s and not await _stopped(stop, due_s - time.monotonic()):
        task = asyncio.create_task(call())
        calls.add(task)
        task.add_done_callback(calls.discard)
        due_s += chance.expovariate(rate)
    await _until(stop, asyncio.gather(*calls))


def impatience(share: float, *, longest_s: float, seed: int) -> Callable[[], float | None]:
    """Returns a sampler of the time after which a caller disconnects, or None.

    A share of the callers does so, at any instant before `longest_s`.
    """
    chance = random.Random(seed)
    return lambda: chance.uniform(0.0, longest_s) if chance.random() < share else None


async def _stopped(stop: asyncio.Event, wait_s: float) -> bool:
    """Waits for a time or for the stop event; returns whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, wait_s)):
            await stop.wait()
    return stop.is_set()


async def _until(stop: asyncio.Event, work: "asyncio.Future[list[None]]") -> None:
    """Waits for the work, or cancels it on the stop event."""
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {work, stopping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        stopping.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)


def run_until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Returns what the work returns; it ends soon after its event, which Ctrl-C sets."""

    async def main() -> T:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in SIGNALS:
            loop.add_signal_handler(one, stop.set)
        try:
            return await work(stop)
        finally:
            for one in SIGNALS:
                loop.remove_signal_handler(one)
                signal.signal(one, signal.default_int_handler)

    return asyncio.run(main())


def stop_in_order() -> None:
    """Makes SIGTERM raise KeyboardInterrupt, as SIGINT does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
