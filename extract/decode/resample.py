"""Frame-rate conversion by timestamp: source times to ticks of the contract's clock."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

RATE_TOLERANCE = 0.05
"""29.97 frames per second count as 30, the rate of Ego4D's canonical videos."""

_JITTER = 0.5  # of a frame; containers round times to a millisecond or worse


@dataclass(frozen=True, eq=False)
class SourceTimes:
    """Presentation times of a source's frames.

    Attributes:
        times_s: (n,) float64, increasing, the first at 0.
        end_s: end of the last frame.
        is_constant: every frame is where a constant rate puts it, within half a frame.
        start_s: presentation time of the first frame on the container's clock.
        num_repaired: frames whose own time was missing, doubled or out of order.
    """

    times_s: np.ndarray
    end_s: float
    is_constant: bool
    start_s: float = 0.0
    num_repaired: int = 0

    @property
    def rate(self) -> float:
        """Average frames per second."""
        return len(self.times_s) / self.end_s


def read_clock(
    times_s: np.ndarray, *, declared_rate: float | None, last_s: float | None = None
) -> SourceTimes:
    """Returns the presentation times of a source.

    A time that is missing, doubled or out of order is set evenly between its neighbours' times.
    Where fewer than half are usable, the declared rate is used instead.

    Args:
        times_s: (n,) float64 in presentation order, n >= 1; nan: missing.
        declared_rate: frames per second according to the file; 30 when out of range.
        last_s: duration of the last frame according to the file. Without it the last frame lasts
            as long as an average frame of a constant-rate source, or as the median one of another.
    """
    if declared_rate is None or not 0.01 <= declared_rate <= 1000.0:
        declared_rate = 30.0
    times_s, num_repaired = repaired(times_s, 1 / declared_rate)
    start_s, count = float(times_s[0]), len(times_s)
    times_s = times_s - times_s[0]
    gap_s = float(times_s[-1]) / (count - 1) if count > 1 else 1 / declared_rate
    deviation_s = np.abs(times_s - np.arange(count) * gap_s).max()
    is_constant = bool(deviation_s <= _JITTER * gap_s)
    usual_s = gap_s if is_constant else float(np.median(np.diff(times_s)))
    if last_s is None or last_s <= 0 or (is_constant and last_s <= (1 + _JITTER) * gap_s):
        last_s = usual_s
    else:
        is_constant = False
    end_s = float(times_s[-1] + last_s)
    return SourceTimes(times_s, end_s, is_constant, start_s, num_repaired)


def repaired(times_s: np.ndarray, gap_s: float) -> tuple[np.ndarray, int]:
    """Returns times that increase, and how many had to be changed for that.

    The longest run of times that do increase stays as it is, of two equal ones the earlier frame's.
    The others are set evenly between those that stay, beyond them at the median distance.

    Args:
        times_s: (n,) float64 in presentation order, n >= 1; nan: missing.
        gap_s: between frames where fewer than half of the times, or than two, are usable.
    """
    if np.isfinite(times_s).all() and (np.diff(times_s) > 0).all():
        return times_s, 0
    places = np.arange(len(times_s))
    kept = _longest_increase(times_s)
    first = float(times_s[kept[0]]) if len(kept) else 0.0
    if len(kept) < max(2, len(places) / 2):
        return first + (places - (kept[0] if len(kept) else 0)) * gap_s, len(places) - len(kept)
    good_s = times_s[kept]
    gap_s = float(np.median(np.diff(good_s) / np.diff(kept)))
    new_s = np.interp(places, kept, good_s)
    before, after = places < kept[0], places > kept[-1]
    new_s[before] = good_s[0] - (kept[0] - places[before]) * gap_s
    new_s[after] = good_s[-1] + (places[after] - kept[-1]) * gap_s
    return new_s, len(places) - len(kept)


def _longest_increase(times_s: np.ndarray) -> np.ndarray:
    """Returns positions of the longest strictly increasing subsequence, (m,) int64."""
    ends: list[float] = []  # patience sorting: smallest last time of a run of each length
    places: list[int] = []  # where that time is
    previous = np.full(len(times_s), -1)
    for place, time_s in enumerate(times_s.tolist()):
        if not np.isfinite(time_s):
            continue
        length = bisect_left(ends, time_s)
        if length < len(ends) and ends[length] == time_s:
            continue
        previous[place] = places[length - 1] if length else -1
        ends[length : length + 1] = [time_s]
        places[length : length + 1] = [place]
    run: list[int] = []
    place = places[-1] if places else -1
    while place >= 0:
        run.append(place)
        place = int(previous[place])
    return np.array(run[::-1], dtype=np.int64)


def is_on_clock(clock: SourceTimes, fps: int) -> bool:
    """Returns whether frames are used as they are: constant rate, within 0.05 of `fps`."""
    return clock.is_constant and abs(clock.rate - fps) < RATE_TOLERANCE


def ticks_per_second(clock: SourceTimes, fps: int, unit_s: float) -> float:
    """Returns how many ticks of the contract's clock a second of the source has.

    A source that is on the clock has its own rate, such as 29.97.

    Args:
        clock: presentation times of the source.
        fps: ticks per second.
        unit_s: resolution of the container's times.
    """
    if not is_on_clock(clock, fps):
        return float(fps)
    for rate in (float(fps), fps / 1.001):
        if abs(len(clock.times_s) / rate - clock.end_s) <= unit_s:
            return rate
    return clock.rate


def resample(clock: SourceTimes, fps: int) -> np.ndarray:
    """Returns the source frame at every tick, (m,) int64, never decreasing.

    A source that is on the clock is taken as it is. Otherwise tick i stands for the instant i / fps
    and shows the source frame whose time is nearest, the earlier one of two equally near; there
    are round(end_s * fps) ticks, at least one.
    """
    times_s = clock.times_s
    if is_on_clock(clock, fps):
        return np.arange(len(times_s), dtype=np.int64)
    ticks = np.arange(max(1, round(clock.end_s * fps))) / fps
    middles = (times_s[:-1] + times_s[1:]) / 2
    # A tick on a middle, up to rounding, shows the earlier frame.
    return np.searchsorted(middles, ticks - 1e-9, side="left").astype(np.int64)
