import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extract.windows import cut_windows, window_times


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
    starts = cut_windows(num_frames, window_frames=window, stride_frames=stride)

    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] == max(0, num_frames - window)
    assert all(start % stride == 0 for start in starts[:-1])
    rest = max(0, num_frames - window)
    assert len(starts) == rest // stride + 1 + (rest % stride > 0)


@given(num_frames=st.integers(1, 3000), window=st.integers(1, 64), data=st.data())
def test_every_frame_is_in_a_window_when_windows_overlap(num_frames, window, data):
    stride = data.draw(st.integers(1, window))
    starts = cut_windows(num_frames, window_frames=window, stride_frames=stride)
    seen = {frame for start in starts for frame in range(start, start + window)}
    assert seen >= set(range(num_frames))


@pytest.mark.parametrize("wrong", [(0, 32, 16), (10, 0, 16), (10, 32, 0)])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="at least one"):
        cut_windows(wrong[0], window_frames=wrong[1], stride_frames=wrong[2])


def test_times_follow_the_frames_and_a_padded_window_ends_with_the_video():
    start_s, end_s = window_times([0, 16, 17], fps=30, window_frames=32, num_frames=49)
    torch.testing.assert_close(start_s * 30, torch.tensor([0.0, 16, 17], dtype=torch.float64))
    torch.testing.assert_close(end_s * 30, torch.tensor([32.0, 48, 49], dtype=torch.float64))

    _, end_s = window_times([0], fps=30, window_frames=32, num_frames=10)
    torch.testing.assert_close(end_s, torch.tensor([10 / 30], dtype=torch.float64))
