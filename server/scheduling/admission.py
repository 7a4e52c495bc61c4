"""Admission control: bounded places, back-pressure, and how long a refused caller should wait.

Bounded by requests and by windows, whichever comes first; bytes are bounded by the upload spool.
Independent of HTTP.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from server.errors import QueueFull
from server.scheduling.shares import Shares

HALF_LIFE_S = 20.0
"""Busy seconds after which a measurement counts half."""

TYPICAL_WINDOWS = 14.0
"""Of a clip that has not been decoded yet, before any was: 8 s at the contract's 30 fps."""

MAX_RETRY_AFTER_S = 60
JITTER = 0.2
"""Callers refused at the same time retry at different times."""


class Throughput:
    """Exponentially decayed windows and clips per busy second; idle time does not count.

    All sums decay together, so that a run of long clips, which bring more windows and take
    longer, does not change the time per window.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._updated_s = clock()
        self._active = 0
        self._windows = self._clips = self._busy_s = 0.0

    @property
    def windows_per_clip(self) -> float:
        """Mean windows of a clip; 0 before any was measured."""
        return self._windows / self._clips if self._clips > 0 else 0.0

    def seconds_for(self, windows: float, clips: int) -> float:
        """Estimated seconds to finish windows, and clips of unknown length; 0 before any did."""
        self._advance()
        window_s = self._busy_s / self._windows if self._windows > 0 else 0.0
        clip_s = self._busy_s / self._clips if self._clips > 0 else 0.0
        return windows * window_s + clips * clip_s

    def begin(self) -> None:
        """Counts a clip as being processed."""
        self._advance()
        self._active += 1

    def end(self, windows: int) -> None:
        """Counts a clip, of so many windows, as finished."""
        self._advance()
        self._windows += windows
        self._clips += 1
        self._active -= 1

    def _advance(self) -> None:
        now_s = self._clock()
        passed_s, self._updated_s = now_s - self._updated_s, now_s
        if self._active:
            decay = 0.5 ** (passed_s / HALF_LIFE_S)
            self._windows *= decay
            self._clips *= decay
            self._busy_s = self._busy_s * decay + passed_s


@dataclass(eq=False)
class ActiveClip:
    """A clip being processed.

    Attributes:
        windows: how many it has; None until it is decoded.
    """

    windows: int | None = None


class Admission:
    """Counts admitted requests and the windows they still bring."""

    def __init__(
        self,
        *,
        max_requests: int,
        max_windows: int,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(1 - JITTER, 1 + JITTER),
    ) -> None:
        """Starts with every place free.

        Args:
            max_requests: requests admitted at once.
            max_windows: windows admitted at once; a single clip is admitted whatever its length.
            share: the part of all places that one caller may hold.
            clock: seconds, monotonic.
            jitter: factor applied to every `retry_after_s`.
        """
        self._places, self._max_windows = Shares(max_requests, share), max_windows
        self._jitter = jitter
        self._throughput = Throughput(clock)
        self._active: set[ActiveClip] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_until_idle(self, max_wait_s: float) -> None:
        """Waits until no clip is being processed, or the wait has lasted `max_wait_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                await self._idle.wait()

    @property
    def requests(self) -> int:
        """Requests admitted and not yet answered."""
        return self._places.held

    @property
    def windows(self) -> float:
        """Windows admitted; those of clips not yet decoded are estimated."""
        known, undecoded = self._pending()
        return known + undecoded * self._typical

    @property
    def _typical(self) -> float:
        return self._throughput.windows_per_clip or TYPICAL_WINDOWS

    def _pending(self) -> tuple[int, int]:
        """Windows of decoded clips, and the number of clips that are not decoded."""
        known = [clip.windows for clip in self._active if clip.windows is not None]
        return sum(known), max(0, self.requests - len(known))

    @contextmanager
    def admit(self, caller: str = "") -> Iterator[None]:
        """Holds a place.

        Args:
            caller: whose share is counted; empty: none.

        Raises:
            QueueFull: every place, or every one of the caller's share, is taken.
        """
        is_full = not self._places.has_room(caller)
        if is_full or (self.requests and self.windows + self._typical > self._max_windows):
            raise QueueFull(self.retry_after_s())
        with self._places.hold(caller):
            yield

    @contextmanager
    def work(self) -> Iterator[ActiveClip]:
        """Measures the processing of one clip."""
        clip = ActiveClip()
        self._active.add(clip)
        self._idle.clear()
        self._throughput.begin()
        is_answered = False
        try:
            yield clip
            is_answered = True
        finally:
            self._active.remove(clip)
            if not self._active:
                self._idle.set()
            self._throughput.end(clip.windows or 0 if is_answered else 0)

    def retry_after_s(self) -> int:
        """Whole seconds until the requests admitted now should be finished."""
        estimate_s = self._throughput.seconds_for(*self._pending())
        return max(1, min(MAX_RETRY_AFTER_S, math.ceil(estimate_s * self._jitter())))
