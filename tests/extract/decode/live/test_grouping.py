"""No window waits for a picture that it does not need."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.contract import FeatureContract
from extract.decode.live.clock import LiveClock
from extract.decode.live.grouping import MOST_BYTES, MOST_PICTURES, Message, PictureGroup

CONTRACT = FeatureContract()


def message(time_s, size=20):
    return Message(struct.pack("<d", time_s) + bytes(size), time_s)


def windows_certain(times_s, rate):
    """Number of windows that are complete with each picture, as the decoder's clock decides."""
    clock, ticks, number, found = LiveClock(CONTRACT.fps, rate), 0, [0], []

    def feed():
        for n, time_s in enumerate(times_s):
            number[0] = n
            yield time_s
        number[0] = len(times_s)  # what is certain at the end only

    for _, more in clock.spread(feed(), lambda time_s: time_s):
        ticks += more
        found.append((number[0], ticks))
    counts = []
    for n in range(len(times_s)):
        seen = max((t for at, t in found if at <= n), default=0)
        counts.append(max(0, (seen - CONTRACT.window_frames) // CONTRACT.stride_frames + 1))
    return counts


@given(
    st.lists(st.one_of(st.sampled_from([1 / 30, 1 / 25, 1 / 60, 1 / 120]), st.floats(0.001, 3)),
             min_size=1, max_size=150),
    st.floats(0, 1e5),
    st.sampled_from([None, 30.0, 25.0, 10.0, 59.94]),
)  # fmt: skip
def test_a_picture_that_completes_a_window_is_passed_on_at_once(gaps_s, start_s, rate):
    group, times_s = PictureGroup(CONTRACT, rate), [start_s]
    for gap_s in gaps_s:
        times_s.append(times_s[-1] + gap_s)
    before = 0
    for time_s, count in zip(times_s, windows_certain(times_s, rate), strict=True):
        group.add(message(time_s))
        assert group.is_due or count == before
        before = count
        if group.is_due:
            assert group.take()[-1].arrived_s == time_s


def test_few_go_alone_and_none_is_held_for_long():
    group, sizes = PictureGroup(CONTRACT, 30.0), []
    for n in range(CONTRACT.stride_frames * 20):
        group.add(message(n / 30))
        if group.is_due:
            sizes.append(len(group.take()))
    assert max(sizes) == MOST_PICTURES
    assert len(sizes) <= 4 * 20 + 4


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1e300, 1e300])
def test_a_time_that_no_picture_can_have_is_left_to_the_decoder(time_s):
    group = PictureGroup(CONTRACT, None)
    group.add(message(0.0))
    assert len(group.take()) == 1
    group.add(message(time_s))
    group.add(message(0.1))
    assert len(group.take()) == 2


def test_large_pictures_do_not_gather():
    group = PictureGroup(CONTRACT, 30.0)
    for n in range(3):
        group.add(message(n / 30))
        group.take()
    group.add(message(0.1, MOST_BYTES))
    assert group.is_due
    group.take()
    assert not group.is_due
