"""Ctrl-C ends a load early and in order: what was measured until then is still reported.

SIGTERM does the same, so that no server outlives the benchmark that started it.
"""

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
    """Lets SIGTERM unwind what is going on, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
