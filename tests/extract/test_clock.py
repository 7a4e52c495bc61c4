import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.clock import is_on_clock, plan_frames, read_clock


def constant(rate, count):
    return read_clock(np.arange(count) / rate, declared_rate=None)


@pytest.mark.parametrize("rate", [30, 30000 / 1001, 29.96])
def test_sources_at_thirty_are_taken_as_they_are(rate):
    clock = constant(rate, 90)
    assert is_on_clock(clock, 30)
    assert plan_frames(clock, 30).tolist() == list(range(90))


def test_millisecond_times_still_count_as_constant():
    times = np.round(np.arange(90) / 30, 3)
    assert is_on_clock(read_clock(times, declared_rate=None), 30)


def test_sixty_frames_per_second_become_every_second_frame():
    assert plan_frames(constant(60, 60), 30).tolist() == list(range(0, 60, 2))


def test_twenty_five_frames_per_second_repeat_every_sixth_tick_or_so():
    # At tick i the nearest of frames shown every 1/25 s, worked out by hand.
    assert plan_frames(constant(25, 10), 30).tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9]


def test_ten_frames_per_second_are_shown_three_times_each_around_their_time():
    assert plan_frames(constant(10, 3), 30).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_a_tick_half_way_shows_the_earlier_frame():
    clock = read_clock(np.array([0.0, 2 / 30, 6 / 30]), declared_rate=None)
    assert plan_frames(clock, 30).tolist()[:5] == [0, 0, 1, 1, 1]


@given(gaps=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=60))
def test_every_tick_shows_a_nearest_frame(gaps):
    clock = read_clock(np.cumsum([0.0, *gaps]), declared_rate=None)
    plan = plan_frames(clock, 30)
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
    assert len(plan_frames(clock, 30)) == 150


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
