"""Live clock: frames to ticks of the contract's clock as they arrive, as `resample` does for files.

Which frame is nearest to a tick is known when the next one is there, so ticks are one frame behind
the source. A stream that is on the clock by its own word has a tick a frame, at once.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from extract.decode.resample import RATE_TOLERANCE, read_clock
from extract.errors import VideoRejected

Frame = TypeVar("Frame")

MAX_GAP_S = 60.0
"""Longest time between two frames; the ticks in between show the earlier one."""

_RATE_SLACK = 1.1  # frames in a second above the limit: clocks of cameras jitter


class LiveClock:
    """Ticks of frames as they arrive.

    Attributes:
        ticks_per_s: of the contract's clock in a second of the source.
        start_s: time of the first frame.
        late: frames left out, as they are no later than the one before.
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
        self.late = 0
        self._times = array("d")  # since the first frame: 8 bytes a frame
        self._given = 0

    @property
    def count(self) -> int:
        """Frames so far, late ones aside."""
        return len(self._times)

    def spread(
        self,
        frames: Iterable[Frame],
        time_of: Callable[[Frame], float | None],
        last_s: Callable[[], float | None] = lambda: None,
    ) -> Iterator[tuple[Frame, int]]:
        """Yields each frame that is shown with its ticks, in order, as early as they are certain.

        Args:
            frames: in order, as they arrive.
            time_of: returns a frame's time in seconds; None sets it after the one before.
            last_s: duration of the last frame, where the container states it; asked at the end.

        Raises:
            VideoRejected: a frame is far after the one before.
        """
        before: Frame | None = None
        held: list[Frame] = []
        for frame in frames:
            ticks = self._push(time_of(frame))
            if ticks is None:
                self.late += 1
                continue
            shown, now = (frame, ticks) if self._as_it_is else (before, ticks)
            if held and (now or not self._is_ahead):
                yield held.pop(), 1
            if now and shown is not None:
                if self._is_ahead:
                    held.append(shown)
                if now > len(held):
                    yield shown, now - len(held)
            before = frame
        if before is None:
            return
        left = self._left(last_s())
        if held and left >= 0:
            yield held.pop(), 1
        if left > 0:
            yield before, left

    def _push(self, time_s: float | None) -> int | None:
        """Returns the ticks that a frame decides; None where it comes too late to be shown.

        They are its own if the stream is on the clock, else those of the one before.
        """
        count = len(self._times)
        if not count:
            self.start_s = time_s or 0.0
        since_s = self._since(time_s)
        last_s = self._times[-1] if count else since_s
        if count and since_s <= last_s:
            return None
        if since_s - last_s > MAX_GAP_S:
            raise VideoRejected(
                "damaged", f"more than {MAX_GAP_S:g} s lie between two frames; start anew"
            )
        self._times.append(since_s)
        if self._as_it_is:
            return 1
        return self._until((last_s + since_s) / 2) if count else 0

    @property
    def _is_ahead(self) -> bool:
        """Whether the last tick given would be none if the stream ended here, as in a file."""
        ended_s = self._times[-1] if self._times else 0.0
        return not self._as_it_is and self._given > ended_s * self._fps + 0.5 + 1e-6

    def _left(self, last_s: float | None) -> int:
        """Returns the ticks of the last frame, as `resample` counts them; -1 takes one back."""
        if self._as_it_is:
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
        last = math.floor((middle_s + 1e-9) * self._fps)
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
