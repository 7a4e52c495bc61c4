"""Who may come in, and when the others should come back.

Bounded by requests and by windows, whichever comes first; bytes are the spool's business. Knows
nothing of HTTP.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from server.errors import QueueFull

HALF_LIFE_S = 20.0
"""Busy seconds after which a measurement counts half."""

TYPICAL_WINDOWS = 14.0
"""Of a clip that has not been decoded yet, before any was: 8 s at the contract's 30 fps."""

LONGEST_S = 60
SPREAD = 0.2
"""Callers who were refused together come back apart."""


class Throughput:
    """What leaves per busy second, lately; idle time and old times do not count.

    All figures fade together, so that a run of long clips, which bring more windows and take
    longer, does not change what a window costs.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen_s = clock()
        self._active = 0
        self._windows = self._clips = self._busy_s = 0.0

    @property
    def windows_per_s(self) -> float:
        """The rate; 0 before anything was measured."""
        self._advance()
        return self._windows / self._busy_s if self._busy_s > 0 else 0.0

    @property
    def windows_per_clip(self) -> float:
        """What a clip brings; 0 before any brought one."""
        return self._windows / self._clips if self._clips > 0 else 0.0

    def seconds_for(self, windows: float, clips: int) -> float:
        """Seconds until so many windows, and clips of unknown length, will have left.

        Returns:
            0 before anything was measured.
        """
        self._advance()
        window_s = self._busy_s / self._windows if self._windows > 0 else 0.0
        clip_s = self._busy_s / self._clips if self._clips > 0 else 0.0
        return windows * window_s + clips * clip_s

    def begin(self) -> None:
        """A clip goes to work."""
        self._advance()
        self._active += 1

    def end(self, windows: int) -> None:
        """A clip is done with, after so many windows."""
        self._advance()
        self._windows += windows
        self._clips += 1
        self._active -= 1

    def _advance(self) -> None:
        now_s = self._clock()
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        if self._active:
            fade = 0.5 ** (passed_s / HALF_LIFE_S)
            self._windows *= fade
            self._clips *= fade
            self._busy_s = self._busy_s * fade + passed_s


@dataclass(eq=False)
class ActiveClip:
    """A clip being answered.

    Attributes:
        windows: as soon as it is decoded, how many it has.
    """

    windows: int | None = None


class Admission:
    """Counts requests in the building and the windows they still bring."""

    def __init__(
        self,
        *,
        max_requests: int,
        max_windows: int,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(1 - SPREAD, 1 + SPREAD),
    ) -> None:
        """Opens with every place free.

        Args:
            max_requests: places.
            max_windows: windows that may be inside; one clip alone is always let in.
            clock: seconds, never backwards.
            jitter: factor on every wait that is told.
        """
        self._max_requests, self._max_windows = max_requests, max_windows
        self._jitter = jitter
        self._throughput = Throughput(clock)
        self._working: set[ActiveClip] = set()
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()
        self.requests = 0

    async def wait_until_idle(self, longest_s: float) -> None:
        """Waits while clips are being answered, but not for ever: who is never alone gets on too.

        Args:
            longest_s: seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._is_quiet.wait()

    @property
    def windows(self) -> float:
        """Windows inside, those of clips not yet decoded estimated."""
        known, unknown = self._inside()
        return known + unknown * self._typical

    @property
    def _typical(self) -> float:
        return self._throughput.windows_per_clip or TYPICAL_WINDOWS

    def _inside(self) -> tuple[int, int]:
        """Windows of clips that are decoded, and how many are not."""
        known = [work.windows for work in self._working if work.windows is not None]
        return sum(known), max(0, self.requests - len(known))

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds a place.

        Raises:
            QueueFull: there is none.
        """
        is_full = self.requests >= self._max_requests
        if is_full or (self.requests and self.windows + self._typical > self._max_windows):
            raise QueueFull(self.retry_after_s())
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def work(self) -> Iterator[ActiveClip]:
        """Measures one clip's way from the queue to its answer."""
        work = ActiveClip()
        self._working.add(work)
        self._is_quiet.clear()
        self._throughput.begin()
        is_answered = False
        try:
            yield work
            is_answered = True
        finally:
            self._working.remove(work)
            if not self._working:
                self._is_quiet.set()
            self._throughput.end(work.windows or 0 if is_answered else 0)

    def retry_after_s(self) -> int:
        """Whole seconds until what is inside now should have left."""
        estimate_s = self._throughput.seconds_for(*self._inside())
        return max(1, min(LONGEST_S, math.ceil(estimate_s * self._jitter())))
