"""Frames that arrive get the ticks that they have in a file."""

import numpy as np
import pytest

from extract.decode.live.clock import MAX_GAP_S, LiveClock, RateLimit
from extract.decode.resample import is_on_clock, read_clock, resample
from extract.errors import VideoRejected


def ticks_of(times_s, fps, rate=None):
    """The frame of every tick."""
    spread = LiveClock(fps, rate).spread(enumerate(times_s), lambda frame: frame[1])
    return [number for (number, _), ticks in spread for _ in range(ticks)]


@pytest.mark.parametrize("fps", [5, 15, 30])
@pytest.mark.parametrize("rate", [1, 7, 24, 25, 29.97, 48, 50, 60, 90, 119, 120, 240])
@pytest.mark.parametrize("jitter", [0.0, 0.2, 0.9])
def test_ticks_are_those_of_the_whole_file(fps, rate, jitter):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(1, 200))
        times_s = (np.arange(count) + jitter * rng.random(count)) / rate + rng.random()
        if jitter == 0.9:
            times_s = np.sort(rng.choice(times_s, max(1, count // 2), replace=False))
        clock = read_clock(times_s, declared_rate=None)
        if is_on_clock(clock, fps):
            continue  # by its own times a file is not known to be so before its end
        assert ticks_of(times_s, fps) == resample(clock, fps).tolist()


@pytest.mark.parametrize("rate", [29.97, 30.0, 30.04])
def test_a_stream_on_the_clock_has_a_tick_a_frame_at_once(rate):
    clock, arrived = LiveClock(30, rate), []

    def frames():
        for time_s in (5.0, 5.2, 5.21):
            arrived.append(time_s)
            yield time_s

    for number, shown in enumerate(clock.spread(frames(), float), 1):
        assert shown == (arrived[-1], 1)
        assert len(arrived) == number
    assert (clock.count, clock.start_s, clock.ticks_per_s) == (3, 5.0, rate)


def test_ticks_are_one_frame_behind_the_source():
    clock, arrived = LiveClock(30), []

    def frames():
        for number in range(50):
            arrived.append(number)
            yield number / 25

    for time_s, _ in clock.spread(frames(), float):
        assert len(arrived) - round(time_s * 25) <= 2 or len(arrived) == 50


def test_a_frame_without_a_time_follows_the_one_before():
    assert ticks_of([2.0, None, None, None], 30) == [0, 1, 2, 3]


def test_what_comes_too_late_is_left_out():
    clock = LiveClock(30)
    shown = [time_s for time_s, _ in clock.spread([1.0, 1.0, 0.5, 1.1], float)]
    assert (shown, clock.count, clock.late) == ([1.0, 1.1], 2, 2)


def test_a_gap_is_bounded():
    list(LiveClock(30).spread([0.0, MAX_GAP_S], float))
    with pytest.raises(VideoRejected, match="60 s lie between"):
        list(LiveClock(30).spread([0.0, MAX_GAP_S + 0.1], float))


def test_nothing_gives_nothing():
    assert ticks_of([], 30) == []


def test_frames_in_any_second_are_bounded():
    limit = RateLimit(10)
    for number in range(50):
        limit.take(number / 10)
    with pytest.raises(VideoRejected, match="more than 10 frames"):
        list(map(limit.take, np.arange(5, 7, 1 / 20)))
