"""A probe of a running app: the longest stall of its event loop and the growth of the process.

Each reading holds what an idle loop did in the same run, so that a busy machine is not blamed.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.server.support.in_process import AppTransport

TICK_S = 0.002
IDLE_S = 0.15
"""Shortest time for which the idle loop is watched; after the block as long as the block, at most
`MOST_IDLE_S`."""
MOST_IDLE_S = 1.0
STALL_S = 0.25
"""Longest stall that nobody notices."""
BUSY = 3.0
"""How many times the idle loop's longest stall a working one may take on a busy machine."""


@dataclass
class Reading:
    """What happened during the block.

    Attributes:
        stall_s: longest time in which the loop ran nothing else.
        idle_s: the same of the idle loop.
        grown_bytes: peak of the resident set above its size at the start.
    """

    stall_s: float = 0.0
    idle_s: float = 0.0
    grown_bytes: int = 0

    @property
    def is_smooth(self) -> bool:
        """Whether the loop went on, as far as this machine let it."""
        return self.stall_s <= max(STALL_S, BUSY * self.idle_s)


@contextmanager
def probing(transport: AppTransport) -> Iterator[Reading]:
    """Watches the app's loop and the process during the block; read the result after it."""
    reading, gaps = Reading(), [0.0]

    async def tick() -> None:
        last_s = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.perf_counter()
            gaps[-1] = max(gaps[-1], now_s - last_s - TICK_S)
            last_s = now_s

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(tick())

    ticking = transport.run(start())
    try:
        time.sleep(IDLE_S)
        Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the present size
        before, begun_s = _resident("VmRSS"), time.perf_counter()
        gaps.append(0.0)
        yield reading
        transport.run(asyncio.sleep(2 * TICK_S))  # a stall that still lasts is counted
        reading.grown_bytes = max(0, _resident("VmHWM") - before)
        gaps.append(0.0)
        time.sleep(min(MOST_IDLE_S, max(IDLE_S, time.perf_counter() - begun_s)))
        reading.stall_s, reading.idle_s = gaps[1], max(gaps[0], gaps[2])
    finally:
        ticking.get_loop().call_soon_threadsafe(ticking.cancel)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
