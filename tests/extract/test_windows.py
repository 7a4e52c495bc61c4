from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extract.contract import OMNIVORE, TABLETOP, FeatureContract
from extract.features.track import window_times
from extract.windows import (
    WindowCutter,
    cut_windows,
    last_frames,
    regular_frames,
    wanted_frames,
)


@pytest.mark.parametrize(
    ("num_frames", "starts"),
    [
        (1, [0]),
        (31, [0]),
        (32, [0]),
        (33, [0, 1]),
        (39, [0, 7]),
        (48, [0, 16]),
        (49, [0, 16, 17]),
        (64, [0, 16, 32]),
        (100, [0, 16, 32, 48, 64, 68]),
    ],
)
def test_windows_are_those_of_the_published_features(num_frames, starts):
    assert cut_windows(num_frames) == starts


def test_number_of_windows_of_five_minutes_is_the_published_one():
    assert len(cut_windows(9000)) == 562


@given(num_frames=st.integers(1, 3000), window=st.integers(1, 64), stride=st.integers(1, 64))
def test_windows_keep_their_order_and_end_on_the_last_frame(num_frames, window, stride):
    starts = cut_windows(num_frames, FeatureContract(window_frames=window, stride_frames=stride))

    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] == max(0, num_frames - window)
    assert all(start % stride == 0 for start in starts[:-1])
    rest = max(0, num_frames - window)
    assert len(starts) == rest // stride + 1 + (rest % stride > 0)


@given(num_frames=st.integers(1, 3000), window=st.integers(1, 64), data=st.data())
def test_every_frame_is_in_a_window_when_windows_overlap(num_frames, window, data):
    stride = data.draw(st.integers(1, window))
    starts = cut_windows(num_frames, FeatureContract(window_frames=window, stride_frames=stride))
    seen = {frame for start in starts for frame in range(start, start + window)}
    assert seen >= set(range(num_frames))


def looked_at(frames, contract, num_frames=None):
    """The frames of every window, as a cutter gives them."""
    cutter = WindowCutter(contract, num_frames)
    return [*cutter.push(frames), *cutter.finish()]


cuts = st.builds(
    lambda window, stride, step: replace(
        TABLETOP, window_frames=window, stride_frames=stride, frame_step=step
    ),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(1, 8),
)


@given(num_frames=st.integers(1, 300), contract=cuts)
def test_wanted_frames_are_those_that_windows_look_at(num_frames, contract):
    windows = looked_at(range(num_frames), contract)
    seen = sorted({frame for window in windows for frame in window})
    assert np.flatnonzero(wanted_frames(num_frames, contract)).tolist() == seen
    assert seen[0] == 0


@given(num_frames=st.integers(1, 300), contract=cuts)
def test_windows_are_the_same_when_only_wanted_frames_come(num_frames, contract):
    some = np.flatnonzero(wanted_frames(num_frames, contract)).tolist()
    expected = looked_at(range(num_frames), contract)
    assert looked_at(some, contract, num_frames) == expected


@given(num_frames=st.integers(1, 300), contract=cuts)
def test_any_frame_of_the_last_window_can_be_replaced(num_frames, contract):
    cutter = WindowCutter(contract)
    regular = list(cutter.push(range(num_frames)))
    starts = cut_windows(num_frames, contract)
    with pytest.raises(IndexError):
        cutter.amend(num_frames + 1, 0)
    if len(regular) < len(starts):  # else nothing is left to be cut
        for number in last_frames(num_frames, contract):
            cutter.amend(num_frames - number, -number)
        (last,) = cutter.finish()
        assert sorted({-number for number in last}) == last_frames(num_frames, contract)


@given(num_frames=st.integers(1, 300), contract=cuts)
def test_wanted_frames_are_regular_or_of_the_last_window(num_frames, contract):
    wanted = set(np.flatnonzero(wanted_frames(num_frames, contract)).tolist())
    last = set(last_frames(num_frames, contract))
    regular = regular_frames(contract)
    assert last <= wanted
    assert {frame % contract.stride_frames for frame in wanted - last} <= regular


@pytest.mark.parametrize(("num_frames", "wanted"), [(240, 120), (239, 112 + 16), (31, 16), (1, 1)])
def test_every_second_frame_is_wanted_but_at_an_odd_end(num_frames, wanted):
    assert wanted_frames(num_frames, TABLETOP).sum() == wanted
    assert wanted_frames(num_frames, replace(TABLETOP, frame_step=1)).all()


@pytest.mark.parametrize("wrong", [(0, 32, 16), (10, 0, 16), (10, 32, 0)])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="at least one"):
        cut_windows(wrong[0], FeatureContract(window_frames=wrong[1], stride_frames=wrong[2]))


def test_times_follow_the_frames_and_a_padded_window_ends_with_the_video():
    start_s, end_s = window_times(49, OMNIVORE, 30)
    torch.testing.assert_close(start_s * 30, torch.tensor([0.0, 16, 17], dtype=torch.float64))
    torch.testing.assert_close(end_s * 30, torch.tensor([32.0, 48, 49], dtype=torch.float64))

    _, end_s = window_times(10, OMNIVORE, 30)
    torch.testing.assert_close(end_s, torch.tensor([10 / 30], dtype=torch.float64))
