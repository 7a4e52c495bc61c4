import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.extract.features.tracks import make_track


def test_a_track_checks_its_shapes():
    with pytest.raises(ValueError, match="float32"):
        make_track(features=torch.zeros(6, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="starts and ends"):
        make_track(features=torch.zeros(2, 5))


@given(
    num_frames=st.integers(1, 5000),
    origin_s=st.floats(0, 1e4),
    ticks_per_s=st.sampled_from([30.0, 30_000 / 1001]),
    data=st.data(),
)
def test_an_instant_while_a_frame_is_shown_is_that_frame_on_any_clock(
    num_frames, origin_s, ticks_per_s, data
):
    track = make_track(num_frames, origin_s=origin_s, ticks_per_s=ticks_per_s)
    frame = data.draw(st.integers(0, num_frames))
    shown_s = torch.tensor([origin_s + frame / ticks_per_s, -1.0, 1e9]).double()
    assert track.frame_at(shown_s).tolist() == [frame, 0, num_frames]
    assert track.video_end_s == pytest.approx(origin_s + num_frames / ticks_per_s)


@pytest.mark.parametrize(
    ("name", "value"), [("origin_s", -1.0), ("origin_s", float("nan")), ("ticks_per_s", -1.0)]
)
def test_a_track_without_a_clock_is_refused(name, value):
    with pytest.raises(ValueError, match="no clock"):
        make_track(**{name: value})
