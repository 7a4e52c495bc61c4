"""A probe of a running app: the longest stall of its event loop and the growth of the process.

Time in which the process was ready to run and other processes had the cores is not the loop's.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICK_S = 0.002
IDLE_S = 0.15
"""For so long an idle loop is watched, before the block and after it."""
READ_S = 0.05
"""How often the time without a core is read, which takes about a millisecond."""
STALL_S = 0.25
"""Longest stall that nobody notices."""
BUSY = 3.0
"""How many times the idle loop's longest stall a working one may take on a busy machine."""

NOISE = 24 * 2**20
"""Bytes that the test's own client and threads may add to the process."""


@dataclass
class Reading:
    """What happened during the block.

    Attributes:
        stall_s: longest time in which the loop could not run what was due.
        idle_s: the same of the idle loop.
        grown_bytes: peak of the resident set above its size at the start.
    """

    stall_s: float = 0.0
    idle_s: float = 0.0
    grown_bytes: int = 0

    @property
    def is_smooth(self) -> bool:
        """Whether the loop went on."""
        return self.stall_s <= max(STALL_S, BUSY * self.idle_s)


@contextmanager
def probing(transport: Any) -> Iterator[Reading]:
    """Watches a loop and the process during the block; read the result after it.

    Args:
        transport: an `AppTransport`, or what runs coroutines on the loop by its `run`.
    """
    reading, gaps = Reading(), [0.0]

    async def tick() -> None:
        last_s = read_s = time.perf_counter()
        waited_s = _waited_s()
        while True:
            await asyncio.sleep(TICK_S)
            gap_s = time.perf_counter() - last_s - TICK_S
            if gap_s > gaps[-1] or last_s - read_s > READ_S:
                before_s, waited_s = waited_s, _waited_s()
                gaps[-1] = max(gaps[-1], gap_s - max(0.0, waited_s - before_s))
                read_s = time.perf_counter()
            last_s = time.perf_counter()

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(tick())

    gc.collect()
    gc.freeze()  # or a collection goes through what all tests before left, a second or more
    ticking = transport.run(start())
    try:
        time.sleep(IDLE_S)
        Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the present size
        before = _resident("VmRSS")
        gaps.append(0.0)
        yield reading
        transport.run(asyncio.sleep(2 * TICK_S))  # a stall that still lasts is counted
        reading.grown_bytes = max(0, _resident("VmHWM") - before)
        gaps.append(0.0)
        time.sleep(IDLE_S)
        reading.stall_s, reading.idle_s = gaps[1], max(gaps[0], gaps[2])
    finally:
        ticking.get_loop().call_soon_threadsafe(ticking.cancel)


def pieces(data: bytes) -> Iterator[bytes]:
    """Returns a body as a socket gives it."""
    return (data[start : start + 65536] for start in range(0, len(data), 65536))


def _waited_s() -> float:
    """Seconds that this process's threads were ready to run without a core, added up."""
    waited_ns = 0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            waited_ns += int(file.read_text().split()[1])
    return waited_ns / 1e9


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
