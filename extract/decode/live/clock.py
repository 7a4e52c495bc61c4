"""Live clock: frames to ticks of the contract's clock as they arrive, as `resample` does for files.

Which frame is nearest to a tick is known when the next one is there, so ticks are one frame behind
the source. A stream that is on the clock by its own word has a tick a frame, at once.
"""

from array import array
from collections import deque
from typing import NamedTuple

import numpy as np

from extract.decode.resample import RATE_TOLERANCE, read_clock
from extract.errors import VideoRejected

MAX_GAP_S = 60.0
"""Longest time between two frames; the ticks in between show the earlier one."""

_RATE_SLACK = 1.1  # frames in a second above the limit: clocks of cameras jitter


class Ticks(NamedTuple):
    """Ticks that a new frame decides: of the frame before it, and of itself."""

    before: int
    own: int


class LiveClock:
    """Ticks of frames as they arrive.

    Attributes:
        ticks_per_s: of the contract's clock in a second of the source.
        start_s: time of the first frame.
    """

    def __init__(self, fps: int, rate: float | None = None) -> None:
        """Starts before the first frame.

        Args:
            fps: ticks a second.
            rate: frames a second of the source, which then stand for their times; None: they have
                times of their own.
        """
        self._fps, self._rate = fps, rate
        self._as_it_is = rate is not None and abs(rate - fps) < RATE_TOLERANCE
        self.ticks_per_s = rate if rate is not None and self._as_it_is else float(fps)
        self.start_s = 0.0
        self._times = array("d")  # since the first frame: 8 bytes a frame
        self._given = 0

    @property
    def count(self) -> int:
        """Frames so far."""
        return len(self._times)

    def push(self, time_s: float | None) -> Ticks | None:
        """Returns the ticks that are decided now; None where the frame comes too late to be shown.

        Args:
            time_s: of the frame; None is set after the one before.

        Raises:
            VideoRejected: the time is no number, or far after the one before.
        """
        count = len(self._times)
        if time_s is not None and not abs(time_s) < 2**40:
            raise VideoRejected("damaged", "a frame has no finite time")
        if not count:
            self.start_s = time_s or 0.0
        since_s = self._since(time_s)
        if count and since_s <= self._times[-1]:
            return None
        if count and since_s - self._times[-1] > MAX_GAP_S:
            raise VideoRejected(
                "damaged", f"more than {MAX_GAP_S:g} s lie between two frames; start anew"
            )
        before = 0
        if not self._as_it_is and count:
            middle = (self._times[-1] + since_s) / 2
            before = self._until(middle)
        self._times.append(since_s)
        return Ticks(before, 1 if self._as_it_is else 0)

    @property
    def is_ahead(self) -> bool:
        """Whether the last tick given is none yet if the stream ends here, as a file has none."""
        ended_s = self._times[-1] if self._times else 0.0
        return not self._as_it_is and self._given > ended_s * self._fps + 0.5 + 1e-6

    def finish(self, last_s: float | None = None) -> int:
        """Returns the ticks of the last frame that are left, as `resample` gives them.

        -1 takes the last one back; see `is_ahead`.

        Args:
            last_s: duration of the last frame, where the container states it.
        """
        if self._as_it_is or not self._times:
            return 0
        clock = read_clock(np.array(self._times), declared_rate=self._rate, last_s=last_s)
        return max(1, round(clock.end_s * self._fps)) - self._given

    def _since(self, time_s: float | None) -> float:
        if self._rate is not None:
            return len(self._times) / self._rate
        if time_s is None:
            return self._times[-1] + 1 / self._fps if self._times else 0.0
        return time_s - self.start_s

    def _until(self, middle_s: float) -> int:
        """Counts the ticks up to an instant that are not given yet."""
        last = int((middle_s + 1e-9) * self._fps)
        new = max(0, last + 1 - self._given)
        self._given += new
        return new


class RateLimit:
    """Limit on the frames in any second of a stream."""

    def __init__(self, most: float) -> None:
        self._most = most * _RATE_SLACK
        self._recent: deque[float] = deque()

    def take(self, time_s: float) -> None:
        """Counts a frame.

        Raises:
            VideoRejected: too many came within a second of its time.
        """
        recent = self._recent
        recent.append(time_s)
        while recent[0] < time_s - 1.0:
            recent.popleft()
        if len(recent) > self._most + 1:
            raise VideoRejected(
                "frame-rate-too-high",
                f"more than {self._most / _RATE_SLACK:g} frames come in a second",
            )
