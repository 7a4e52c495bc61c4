"""How tests wait: for what must come, and so long that only a fault makes them wait in vain."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE_S = 300.0
"""Longest wait of a test. It ends a hang and measures nothing: on two cores that other work shares
a server has taken a minute to start that takes five seconds alone."""


def wait_for(condition: Callable[[], Found], *, pause_s: float = 0.02) -> Found:
    """Returns the first true value of `condition`."""
    until_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(pause_s)
    return found


async def wait_until(condition: Callable[[], object]) -> None:
    """Lets the event loop run until `condition` is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
