from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.decode.clip import TRUSTED
from extract.decode.resample import is_on_clock, read_clock, resample
from extract.decode.video import decode_clip
from extract.windows import cut_windows, stack_windows
from tests.extract.support.clips import read_number, write_numbered
from tests.extract.support.decoded import WHOLE


def constant(rate, count):
    return read_clock(np.arange(count) / rate, declared_rate=None)


@pytest.mark.parametrize("rate", [30, 30000 / 1001, 29.96])
def test_sources_at_thirty_are_taken_as_they_are(rate):
    clock = constant(rate, 90)
    assert is_on_clock(clock, 30)
    assert resample(clock, 30).tolist() == list(range(90))


def test_millisecond_times_still_count_as_constant():
    times = np.round(np.arange(90) / 30, 3)
    assert is_on_clock(read_clock(times, declared_rate=None), 30)


def test_sixty_frames_per_second_become_every_second_frame():
    assert resample(constant(60, 60), 30).tolist() == list(range(0, 60, 2))


def test_twenty_five_frames_per_second_repeat_every_sixth_tick_or_so():
    # At tick i the nearest of frames shown every 1/25 s, worked out by hand.
    assert resample(constant(25, 10), 30).tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9]


def test_ten_frames_per_second_are_shown_three_times_each_around_their_time():
    assert resample(constant(10, 3), 30).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_a_tick_half_way_shows_the_earlier_frame():
    clock = read_clock(np.array([0.0, 2 / 30, 6 / 30]), declared_rate=None)
    assert resample(clock, 30).tolist()[:5] == [0, 0, 1, 1, 1]


@given(gaps=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=60))
def test_every_tick_shows_a_nearest_frame(gaps):
    clock = read_clock(np.cumsum([0.0, *gaps]), declared_rate=None)
    plan = resample(clock, 30)
    if is_on_clock(clock, 30):
        assert plan.tolist() == list(range(len(gaps) + 1))
        return
    assert (np.diff(plan) >= 0).all()
    assert abs(len(plan) / 30 - clock.end_s) <= 0.5 / 30 + 1e-9 or len(plan) == 1
    ticks = np.arange(len(plan)) / 30
    distances = np.abs(ticks[:, None] - clock.times_s[None])
    chosen = distances[np.arange(len(plan)), plan]
    assert (chosen <= distances.min(axis=1) + 1e-8).all()


def test_a_hole_is_part_of_the_duration():
    times = np.concatenate([np.arange(30), np.arange(120, 150)]) / 30
    clock = read_clock(times, declared_rate=None)
    assert not clock.is_constant
    assert clock.end_s == pytest.approx(5.0)
    assert len(resample(clock, 30)) == 150


@pytest.mark.parametrize("times", [[0.0, 0.0, 0.0], [0.0, np.nan, np.nan], [0.0, 0.1, 0.1]])
def test_useless_times_are_replaced_by_the_declared_rate(times):
    clock = read_clock(np.array(times), declared_rate=10.0)
    np.testing.assert_allclose(clock.times_s, [0.0, 0.1, 0.2])
    assert clock.end_s == pytest.approx(0.3)


@pytest.mark.parametrize("declared", [None, 0.0, float("inf"), 1e9])
def test_a_single_frame_with_a_senseless_rate_lasts_a_thirtieth(declared):
    assert read_clock(np.array([5.0]), declared_rate=declared).end_s == pytest.approx(1 / 30)


def test_times_start_at_zero_wherever_the_file_starts():
    clock = read_clock(11.4 + np.arange(60) / 30, declared_rate=None)
    assert clock.times_s[0] == 0.0
    assert clock.end_s == pytest.approx(2.0)


OTHER_RATES = [24, 25, 50, 60, Fraction(24000, 1001), Fraction(60000, 1001)]


def instants_of_windows(plan, times_s):
    """(L, 32) seconds at which the frames of every window are shown by the source."""
    starts = cut_windows(len(plan))
    ticks = np.minimum(np.array(starts)[:, None] + np.arange(32), len(plan) - 1)
    return times_s[plan[ticks]], ticks / 30


@given(rate=st.sampled_from(OTHER_RATES), count=st.integers(30, 2000))
def test_every_window_of_another_rate_covers_its_own_instants(rate, count):
    clock = constant(float(rate), count)
    plan = resample(clock, 30)
    assert abs(len(plan) - count * 30 / float(rate)) <= 0.5 + 1e-6
    shown, wanted = instants_of_windows(plan, clock.times_s)
    # No frame is further than half a source frame from its instant; past the last frame, one.
    allowed = np.where(wanted <= clock.times_s[-1], 0.5, 1.0) / float(rate)
    assert (np.abs(shown - wanted) <= allowed + 1e-6).all()


@pytest.mark.slow
@given(
    rate=st.floats(8, 120),
    jitter=st.lists(st.floats(0.2, 4.0), min_size=40, max_size=400),
)
def test_every_window_of_a_variable_rate_covers_its_own_instants(rate, jitter):
    times_s = np.concatenate([[0.0], np.cumsum(jitter)]) / rate
    clock = read_clock(times_s, declared_rate=None)
    if is_on_clock(clock, 30):
        return
    plan = resample(clock, 30)
    shown, wanted = instants_of_windows(plan, clock.times_s)
    gaps = np.append(np.diff(times_s), clock.end_s - times_s[-1])
    inside = wanted <= times_s[-1]
    around = np.clip(np.searchsorted(times_s, wanted, side="right") - 1, 0, len(gaps) - 1)
    assert (np.abs(shown - wanted) <= np.where(inside, 0.5, 1.0) * gaps[around] + 1e-6).all()


@given(count=st.integers(1, 100_000), rate=st.sampled_from([30.0, 30000 / 1001]))
def test_thirty_and_its_ntsc_cousin_are_never_resampled(count, rate):
    clock = constant(rate, count)
    assert np.array_equal(resample(clock, 30), np.arange(count))


@pytest.mark.parametrize("rate", [*OTHER_RATES, "variable"])
def test_windows_of_a_file_show_the_frames_nearest_to_their_instants(tmp_path, rate):
    if rate == "variable":
        times_ms = np.cumsum([0, *np.random.default_rng(0).integers(10, 80, 99)])
        write_numbered(tmp_path / "clip.mkv", 100, times_ms=times_ms.tolist())
        times_s, file = times_ms / 1000, tmp_path / "clip.mkv"
    else:
        file = write_numbered(tmp_path / "clip.mp4", 100, rate=rate)
        times_s = np.arange(100) / float(rate)
    frames = decode_clip(file, WHOLE, TRUSTED).frames
    windows, starts = stack_windows(frames, WHOLE), cut_windows(len(frames), WHOLE)
    for window, start in zip(windows, starts, strict=True):
        for position, frame in enumerate(window):
            distance = np.abs(times_s - (start + position) / 30)
            assert distance[read_number(frame)] <= distance.min() + 1e-6


@pytest.mark.parametrize("rate", [30, Fraction(30000, 1001)])
def test_frames_of_a_source_at_thirty_are_used_bit_for_bit(tmp_path, rate):
    file = write_numbered(tmp_path / "clip.mp4", 70, rate=rate, options={"bf": "2"})
    with av.open(str(file)) as container:
        source = [
            frame.reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()
            for frame in container.decode(video=0)
        ]
    clip = decode_clip(file, WHOLE, TRUSTED)
    assert np.array_equal(clip.frames, np.stack(source))
    assert not clip.notices
