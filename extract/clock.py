"""Source times to the contract's clock: which source frame is shown at every tick."""

from dataclasses import dataclass

import numpy as np

_RATE_TOLERANCE = 0.05  # 29.97 frames per second count as 30, as in Ego4D's own videos
_JITTER = 0.5  # of a frame; containers round times to a millisecond or worse


@dataclass(frozen=True, eq=False)
class Clock:
    """When a source shows its frames.

    Attributes:
        times_s: (n,) float64, increasing, the first at 0.
        end_s: when the last frame stops being shown.
        is_constant: every frame is where a constant rate puts it, within half a frame.
    """

    times_s: np.ndarray
    end_s: float
    is_constant: bool

    @property
    def rate(self) -> float:
        """Average frames per second."""
        return len(self.times_s) / self.end_s


def read_clock(times_s: np.ndarray, *, declared_rate: float | None) -> Clock:
    """Returns the clock of a source.

    The last frame is taken to last as long as an average frame of a constant-rate source, or as
    the median frame of another.

    Args:
        times_s: (n,) float64 times of the frames in the order shown, n >= 1. When they do not
            increase they say nothing, and the declared rate is used instead.
        declared_rate: frames per second the file claims; 30 when it makes no sense.
    """
    if declared_rate is None or not 1.0 <= declared_rate <= 1000.0:
        declared_rate = 30.0
    count = len(times_s)
    gaps = np.diff(times_s)
    if count == 1 or not (np.isfinite(times_s).all() and (gaps > 0).all()):
        return Clock(np.arange(count) / declared_rate, count / declared_rate, is_constant=True)
    times_s = times_s - times_s[0]
    gap = times_s[-1] / (count - 1)
    deviation = np.abs(times_s - np.arange(count) * gap).max()
    is_constant = bool(deviation <= _JITTER * gap)
    last = gap if is_constant else float(np.median(gaps))
    return Clock(times_s, float(times_s[-1] + last), is_constant)


def is_on_clock(clock: Clock, fps: int) -> bool:
    """Tells whether frames are used as they are: constant rate, within 0.05 of `fps`."""
    return clock.is_constant and abs(clock.rate - fps) < _RATE_TOLERANCE


def plan_frames(clock: Clock, fps: int) -> np.ndarray:
    """Returns which source frame is shown at every tick, (m,) int64, never decreasing.

    A source that is on the clock is taken as it is. Otherwise tick i stands for the instant i / fps
    and shows the source frame whose time is nearest, the earlier one of two equally near; there
    are round(end_s * fps) ticks, at least one.

    Args:
        clock: when the source shows its frames.
        fps: ticks per second.
    """
    times_s = clock.times_s
    if is_on_clock(clock, fps):
        return np.arange(len(times_s), dtype=np.int64)
    ticks = np.arange(max(1, round(clock.end_s * fps))) / fps
    middles = (times_s[:-1] + times_s[1:]) / 2
    # A tick on a middle, up to rounding, shows the earlier frame.
    return np.searchsorted(middles, ticks - 1e-9, side="left").astype(np.int64)
