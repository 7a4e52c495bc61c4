"""Threads for blocking calls to one resource, so that a resource that hangs stops nothing else."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from server.errors import JobsUnavailable, OutcomeUnknown

START_S = 5.0
"""Longest wait for a free thread."""

END_S = 30.0
"""Longest wait for the end of a call, where the resource itself knows no time-out, such as a folder
on a network."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Threads:
    """A few threads, started when needed; `call` may be used from any event loop."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(count, name)

    def close(self) -> None:
        """Drops calls that have not begun; waits for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def call(
        self, work: Callable[_Given, _Made], *args: _Given.args, **values: _Given.kwargs
    ) -> _Made:
        """Runs a blocking call and returns its result.

        A call that has begun is run to its end, even if its caller has gone.

        Raises:
            JobsUnavailable: every thread was busy for `START_S`, so the call was not begun.
            OutcomeUnknown: it takes longer than `END_S`.
        """
        context = contextvars.copy_context()
        running = self._pool.submit(partial(context.run, work, *args, **values))
        waiting = asyncio.wrap_future(running)
        waiting.add_done_callback(_retrieve)
        try:
            await asyncio.wait({waiting}, timeout=START_S)
            if not waiting.done() and running.cancel():
                raise JobsUnavailable("the store of jobs is too slow to answer")
            await asyncio.wait({waiting}, timeout=END_S)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if not waiting.done():
            raise OutcomeUnknown("the store of jobs does not answer")
        return waiting.result()


def _retrieve(future: "asyncio.Future[_Made]") -> None:
    """Takes the exception of a call whose caller has gone."""
    if not future.cancelled():
        future.exception()
