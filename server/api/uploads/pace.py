"""Pace of a body: its next bytes are waited for as long as those before them have earned."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.errors import DeadlineExceeded


@dataclass(frozen=True)
class Pace:
    """The slowest body that is received: a guard against slow loris.

    Attributes:
        least_bytes_s: lowest rate, in bytes per second.
        stall_s: longest time without the bytes that this rate would bring.
    """

    least_bytes_s: float
    stall_s: float


class PacedBody:
    """Chunks of a body: a leaky bucket of patience, which bytes fill and waiting empties.

    Only the time in which the client is waited for counts, not that of writing to a slow disk.
    """

    def __init__(self, chunks: AsyncIterator[bytes], pace: Pace) -> None:
        self._chunks = chunks
        self._pace = pace
        self._left_s = pace.stall_s

    async def next(self) -> bytes | None:
        """Returns the next bytes; None at the end of the body.

        Raises:
            DeadlineExceeded: they come too slowly.
        """
        pace, loop = self._pace, asyncio.get_running_loop()
        started_s = loop.time()
        try:
            async with asyncio.timeout(self._left_s):
                chunk = await anext(self._chunks, None)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the body comes too slowly: at least {pace.least_bytes_s:g} bytes per second are "
                f"expected, and no pause over {pace.stall_s:g} s"
            ) from error
        left_s = self._left_s - (loop.time() - started_s) + len(chunk or b"") / pace.least_bytes_s
        self._left_s = min(pace.stall_s, max(0.0, left_s))
        return chunk
