"""Daemon threads for calls that may never return, such as reading from a folder of a dead network.

A thread pool is joined at exit, so one such call would keep a process from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(name: str, function: Callable[[], T]) -> T:
    """Returns what a function does, on a thread of its own that is never joined.

    Cancelling gives up on the result; the thread runs on.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(settle_it: Callable[[], None]) -> None:
        if not outcome.done():  # cancelled
            settle_it()

    def run() -> None:
        try:
            settle_it = partial(outcome.set_result, function())
        except BaseException as error:
            settle_it = partial(outcome.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: no caller is left
            loop.call_soon_threadsafe(settle, settle_it)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
