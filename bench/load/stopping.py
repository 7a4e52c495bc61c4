"""Graceful stop of a load by SIGINT or SIGTERM: results so far are reported, servers ended."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Returns what the work returns; Ctrl-C sets the event it is given.

    Args:
        work: makes the coroutine; it ends soon after its event is set.
    """

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
