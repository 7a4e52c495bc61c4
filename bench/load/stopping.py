"""Ctrl-C ends a load early and in order: what was measured until then is still reported."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Returns what the work returns; Ctrl-C sets the event it is given.

    Args:
        work: makes the coroutine; it ends soon after its event is set.
    """

    async def main() -> T:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, stop.set)
        try:
            return await work(stop)
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    return asyncio.run(main())
