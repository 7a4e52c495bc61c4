"""Background loop: an asynchronous generator as an iterator, with an event loop in a thread.

For generators that have something to do while their caller is busy, such as sending.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 1000
"""Items that wait for a slow caller, after which the generator waits."""


def iterate_in_background(start: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """Yields what a generator yields; its error is raised here.

    Args:
        start: makes the generator, in the thread.
    """
    items: queue.Queue[T | BaseException | None] = queue.Queue(_AHEAD)
    is_left = threading.Event()
    loop = asyncio.new_event_loop()

    async def put(item: T | BaseException | None) -> None:
        while not is_left.is_set():
            with suppress(queue.Full):
                items.put_nowait(item)
                return
            await asyncio.sleep(0.01)

    async def run() -> None:
        outcome: BaseException | None = None
        try:
            async with aclosing(start()) as generator:
                async for item in generator:
                    await put(item)
        except BaseException as error:
            outcome = error
        await put(outcome)

    def main() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(run())
        tasks.append(task)
        try:
            loop.run_until_complete(task)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=main, name="live", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_left.set()
        if tasks and not loop.is_closed():
            loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join()
