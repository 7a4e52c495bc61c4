"""Closed and open load loops.

A closed loop keeps N calls going; an open loop sends Poisson arrivals of a given mean rate, however
slow the server is.
"""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from bench.load.callers import Callers
from bench.load.clips import LoadClip

Progress = Callable[[], object]


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

    Args:
        callers: who calls.
        clips: what they send.
        concurrency: calls going at once.
        calls: in all; None: any number.
        duration_s: how long to send; None: as long as it takes.
        stop: set to abandon everything.
        progress: called after each call.
        patience: when the next caller hangs up, seconds.
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
    """Sends clips as a Poisson process and waits for the last answer.

    Args:
        callers: who calls.
        clips: what they send.
        rate: mean number of calls a second.
        duration_s: how long to send.
        seed: of the instants.
        stop: set to abandon everything.
        progress: called after each call.
        patience: when the next caller hangs up, seconds.
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

    Args:
        share: of callers who hang up.
        longest_s: they do so at any instant before this.
        seed: of the draw.
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
